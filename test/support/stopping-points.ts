// Named points at which a run stops when its test said so, until the test lets it go on or kills its process.
import { Injectable } from '@nestjs/common';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import type { GateMoment } from './statement-gates.js';

interface Stop {
  readonly reached: Deferred<void>;
  readonly opened: Deferred<void>;
}

@Injectable()
export class StoppingPoints {
  private readonly stops = new Map<string, Stop>();
  /** Told of each point at which something stops. */
  onStop: (point: string) => void = () => undefined;

  /** Resolves once something stands at the point. */
  async stopAt(point: string): Promise<void> {
    const stop = { reached: deferred<void>(), opened: deferred<void>() };
    this.stops.set(point, stop);
    return stop.reached.promise;
  }

  /** Lets go on what stands at the point; nothing stops there any more. */
  goOnFrom(point: string): void {
    this.stops.get(point)?.opened.resolve();
    this.stops.delete(point);
  }

  async pass(point: string): Promise<void> {
    const stop = this.stops.get(point);
    if (!stop) return;
    stop.reached.resolve();
    this.onStop(point);
    await stop.opened.promise;
  }

  /**
   * The points of a statement: `start unsent`, `checkpoint 3 committed`, `append 2 unsent`, `outcome unsent`,
   * `send 2 unsent`, `receive 4 committed`, … A statement may hold several.
   */
  async passStatement(sql: string, values: readonly unknown[], moment: GateMoment): Promise<void> {
    for (const label of labelsOf(sql, values)) await this.pass(`${label} ${moment}`);
  }
}

function labelsOf(sql: string, values: readonly unknown[]): string[] {
  if (sql.includes('dbos.start_workflows')) return ['start'];
  if (sql.includes('dbos.append_to_streams')) {
    const appends = JSON.parse(String(values[0])) as Array<{ step_id: string }>;
    return appends.map(({ step_id }) => `append ${step_id}`);
  }
  if (sql.includes('dbos.send_messages')) return stepsOf(values).map((id) => `send ${id}`);
  if (sql.includes('dbos.receive_messages')) return stepsOf(values).map((id) => `receive ${id}`);
  if (!sql.includes('dbos.write_transitions')) return [];
  if (sql.includes('dbos.write_transitions_of_one')) {
    const [step, status] = [values[3], values[11]] as Array<string | null | undefined>;
    return [...(step ? [`checkpoint ${step}`] : []), ...(status ? ['outcome'] : [])];
  }
  const [, steps, settlements] = values.map((value) => JSON.parse(String(value)) as unknown[]);
  return [
    ...((steps ?? []) as Array<{ step_id: string }>).map(({ step_id }) => `checkpoint ${step_id}`),
    ...((settlements ?? []).length > 0 ? ['outcome'] : []),
  ];
}

function stepsOf([rows]: readonly unknown[]): string[] {
  return (JSON.parse(String(rows)) as Array<{ step_id?: string }>).map(
    ({ step_id: stepId }) => stepId ?? 'outside',
  );
}
