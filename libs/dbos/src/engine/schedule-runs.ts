/** Workflows of a schedule that are asked for, rather than due: now, or for ticks of the past. */
import { createHash, randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { InvalidArgumentError } from '../core/errors.js';
import { ScheduleNotFoundError } from '../core/schedule-errors.js';
import { Timetable, type TickRange } from '../core/schedule-timetable.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { ScheduleRecord } from '../repository/schedule-repository.js';
import type { OutcomeCodec } from './outcome.js';
import type { WorkflowRegistry } from './registry.js';
import { occurrence, scheduledRuns, type Occurrence } from './scheduled-runs.js';

export interface ScheduleRunsParts {
  readonly registry: WorkflowRegistry;
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly onEnqueued: (workflowId: string, queue: string | null) => void;
}

/** A span of time: `from` belongs to it, `until` does not. */
export type Period = Pick<TickRange, 'from' | 'until'>;

/** Most ticks that one call makes up for: beyond it, a wrong year is likelier than a wish. */
const MAX_BACKFILL = 10_000;
/** So many at a time are determined in one turn of the event loop, and enqueued by one statement. */
const CHUNK = 500;

export class ScheduleRuns {
  constructor(private readonly parts: ScheduleRunsParts) {}

  /** @param key the same when the same triggering is repeated; none when it never is */
  async trigger(name: string, key: string | undefined): Promise<string> {
    const { schedule, databaseNow } = await this.find(name);
    const suffix = key ? createHash('sha256').update(key).digest('hex') : randomUUID();
    const id = `sched-${name}-${key ? suffix.slice(0, 32) : suffix}`;
    await this.enqueue(schedule, [{ id, tick: databaseNow }]);
    return id;
  }

  /** Returns the ids of all ticks of the period that have come, enqueued now or earlier. */
  async backfill(name: string, period: Period): Promise<string[]> {
    const { schedule, databaseNow } = await this.find(name);
    const until = new Date(Math.min(period.until.getTime(), databaseNow.getTime() + 1));
    const occurrences = await ticksOf(schedule, { ...period, until });
    for (let begin = 0; begin < occurrences.length; begin += CHUNK)
      await this.enqueue(schedule, occurrences.slice(begin, begin + CHUNK));
    return occurrences.map(({ id }) => id);
  }

  private async find(name: string): Promise<{ schedule: ScheduleRecord; databaseNow: Date }> {
    const found = await this.parts.repository.schedules.find(name);
    if (!found) throw new ScheduleNotFoundError(name);
    return found;
  }

  private async enqueue(
    schedule: ScheduleRecord,
    occurrences: readonly Occurrence[],
  ): Promise<void> {
    const { repository, codec, registry, onEnqueued } = this.parts;
    const { name } = schedule;
    const runs = scheduledRuns(schedule, occurrences, {
      serializers: codec.serializers,
      nameOf: (title) => registry.nameOfNewest(title),
    });
    const isThere = await repository.schedules.enqueue({ name, runs });
    if (!isThere) throw new ScheduleNotFoundError(name);
    for (const { id } of runs) onEnqueued(id, schedule.definition.queue);
  }
}

async function ticksOf(schedule: ScheduleRecord, period: Period): Promise<Occurrence[]> {
  const { name, definition } = schedule;
  const timetable = Timetable.of(definition.cron, definition.timeZone);
  const occurrences: Occurrence[] = [];
  let from = period.from;
  for (;;) {
    const ticks = timetable.ticks({ from, until: period.until, limit: CHUNK });
    occurrences.push(...ticks.map((tick) => occurrence(schedule, tick)));
    if (occurrences.length > MAX_BACKFILL) {
      throw new InvalidArgumentError(
        `Schedule "${name}" has more than ${MAX_BACKFILL} ticks in this period. Backfill it in parts.`,
      );
    }
    const last = ticks[CHUNK - 1];
    if (!last) return occurrences;
    from = new Date(last.getTime() + 1);
    await nextTurn();
  }
}
