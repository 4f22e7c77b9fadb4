/** The smallest engine that is still durable: start, checkpoints, end, recovery of what its executor left behind. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Contestant, Engine, LaunchSettings } from '../../harness/contestant.js';
import type { Work } from '../../harness/work.js';
import { COMPLETED_SQL, CONNECTION_OPTIONS, createTables } from './schema.js';
import type { Store } from './store.js';

const HOUR_MS = 3_600_000;

type StoreOf = new (pool: pg.Pool, executorId: string) => Store;

export function floorContestant(StoreClass: StoreOf): Contestant {
  return {
    results: 'callback',
    completedSql: COMPLETED_SQL,
    launch: async (settings) => {
      const { url, executorId, work } = settings;
      const pool = new pg.Pool({ connectionString: url, options: CONNECTION_OPTIONS });
      await createTables(pool);
      const engine = new FloorEngine(pool, new StoreClass(pool, executorId), work);
      await engine.recover(executorId);
      return engine;
    },
  };
}

class FloorEngine implements Engine {
  constructor(
    private readonly pool: pg.Pool,
    private readonly store: Store,
    private readonly work: Work,
  ) {}

  async execute(steps: number): Promise<number> {
    return this.run(await this.begin('run', steps), steps, []);
  }

  async start(steps: number): Promise<void> {
    void this.run(await this.begin('run', steps), steps, []);
  }

  async startSleeper(index: number): Promise<void> {
    void this.sleep(await this.begin('sleeper', index), index);
  }

  async close(): Promise<void> {
    await this.pool.end();
  }

  /** Goes on with what this executor left behind: one statement for the workflows and their histories. */
  async recover(executorId: LaunchSettings['executorId']): Promise<void> {
    const { rows } = await this.pool.query<{ id: string; input: string; history: string[] }>(
      `SELECT w.id, w.input,
              ARRAY(SELECT s.output FROM steps s WHERE s.workflow_id = w.id ORDER BY s.step_id) AS history
         FROM workflows w
        WHERE w.executor_id = $1 AND w.status = 'PENDING' AND w.name = 'run'`,
      [executorId],
    );
    for (const { id, input, history } of rows)
      void this.run(id, JSON.parse(input) as number, history);
  }

  private async begin(name: string, input: number): Promise<string> {
    const id = randomUUID();
    await this.store.start({ id, name, input: JSON.stringify(input) });
    return id;
  }

  private async run(id: string, steps: number, history: readonly string[]): Promise<number> {
    let value = 0;
    for (let step = 0; step < steps; step += 1) {
      const recorded = history[step];
      value =
        recorded === undefined
          ? await this.checkpoint(id, step, value)
          : (JSON.parse(recorded) as number);
    }
    const result = this.work.end(value, steps);
    await this.store.finish({ id, output: JSON.stringify(result) });
    return result;
  }

  private async checkpoint(workflowId: string, stepId: number, value: number): Promise<number> {
    const output = JSON.stringify(await this.work.step(value));
    await this.store.record({ workflowId, stepId, output });
    return JSON.parse(output) as number;
  }

  private async sleep(workflowId: string, index: number): Promise<void> {
    this.work.fallAsleep(index);
    const output = JSON.stringify(Date.now() + HOUR_MS);
    await this.store.record({ workflowId, stepId: 0, output });
    await delay(HOUR_MS);
    await this.store.finish({ id: workflowId, output: 'null' });
  }
}
