/** A schedule as its readers see it. */
import type { MissedTicks } from '../core/schedule-ticks.js';
import { Timetable } from '../core/schedule-timetable.js';
import type { SerializerSet } from '../core/serialization/serializer.js';
import type { ScheduleRecord } from '../repository/schedule-repository.js';

const END_OF_TIME = new Date('9999-12-31T23:59:59Z');

export interface ScheduleReport {
  readonly name: string;
  /** Name of the workflow. */
  readonly workflow: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly backfill: MissedTicks;
  readonly queue: string | null;
  /** What the workflow gets besides the tick; the stored text when it cannot be decoded here. */
  readonly input: unknown;
  /** How long each of its workflows may take, from its claim on; null: as long as it likes. */
  readonly timeoutMs: number | null;
  /** `retired`: the code that declared it has gone. Neither a paused nor a retired schedule is fired. */
  readonly status: 'active' | 'paused' | 'retired';
  /** By the code; others are made at run time. */
  readonly declared: boolean;
  /** The set it was applied with, if any. */
  readonly set: string | null;
  /** The last tick that was fired, by itself and not by a trigger or a backfill. */
  readonly lastTickAt: Date | null;
  /** The ticks to come, the first of them possibly due; empty unless active. */
  readonly nextRuns: readonly Date[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export function scheduleReport(
  record: ScheduleRecord,
  nextRuns: number,
  serializers: SerializerSet,
): ScheduleReport {
  const { name, definition, declared, setName, lastTickAt, createdAt, updatedAt } = record;
  const { workflowName, cron, timeZone, backfill, queue, timeoutMs } = definition;
  return {
    name,
    workflow: workflowName,
    cron,
    timeZone,
    backfill,
    queue,
    input: inputOf(record, serializers),
    timeoutMs,
    status: statusOf(record),
    declared,
    set: setName,
    lastTickAt,
    nextRuns: nextRunsOf(record, nextRuns),
    createdAt,
    updatedAt,
  };
}

function statusOf({ paused, retiredAt }: ScheduleRecord): ScheduleReport['status'] {
  if (retiredAt) return 'retired';
  return paused ? 'paused' : 'active';
}

/** One row that cannot be decoded must not hide the others. */
function inputOf({ definition: { input } }: ScheduleRecord, serializers: SerializerSet): unknown {
  if (!input) return undefined;
  try {
    return serializers.decode(input);
  } catch {
    return input.text;
  }
}

function nextRunsOf({ nextTickAt, definition }: ScheduleRecord, count: number): Date[] {
  if (!nextTickAt || count === 0) return [];
  try {
    const timetable = Timetable.of(definition.cron, definition.timeZone);
    const from = new Date(nextTickAt.getTime() + 1);
    return [nextTickAt, ...timetable.ticks({ from, until: END_OF_TIME, limit: count - 1 })];
  } catch {
    return [nextTickAt]; // a time zone that is not known here
  }
}
