/** Decides what a look at the due schedules leads to: which ticks of each are fired, and how far it moves on. */
import { dueTicks } from '../core/schedule-ticks.js';
import { Timetable } from '../core/schedule-timetable.js';
import type { DueSchedule, Firing } from '../repository/schedule-repository.js';
import { occurrence, scheduledRuns, type RunTerms } from './scheduled-runs.js';

/**
 * One statement enqueues this much at most; the rest is due at the next look. All schedules have an equal share, so that
 * one with many missed ticks holds up no other.
 */
const BATCH = { maxRuns: 500, maxBytes: 4 * 1024 * 1024 } as const;

export interface PlannedFiring extends Firing {
  readonly queue: string | null;
  /** Whether ticks were missed that nothing is fired for. */
  readonly passedOver: boolean;
}

export interface FiringPlan {
  readonly firings: readonly PlannedFiring[];
  /** Schedules that cannot be fired here: their input, or their time zone, is known to others only. */
  readonly failures: ReadonlyArray<{ readonly name: string; readonly error: unknown }>;
}

export function planFirings(
  due: readonly DueSchedule[],
  databaseNow: Date,
  terms: RunTerms,
): FiringPlan {
  const firings: PlannedFiring[] = [];
  const failures: Array<{ name: string; error: unknown }> = [];
  const share = Math.max(1, Math.floor(BATCH.maxRuns / due.length));
  let bytesLeft: number = BATCH.maxBytes;
  for (const schedule of due) {
    const bytes = schedule.definition.input?.text.length ?? 0;
    const limit = Math.min(share, Math.max(1, Math.floor(bytesLeft / (bytes + 1))));
    try {
      const firing = firingOf(schedule, { databaseNow, limit, ...terms });
      firings.push(firing);
      bytesLeft -= firing.runs.length * bytes;
    } catch (error) {
      failures.push({ name: schedule.name, error });
    }
    if (bytesLeft <= 0) break;
  }
  return { firings, failures };
}

interface Terms extends RunTerms {
  readonly databaseNow: Date;
  readonly limit: number;
}

function firingOf(schedule: DueSchedule, terms: Terms): PlannedFiring {
  const { databaseNow, limit } = terms;
  const { name, revision, nextTickAt, definition } = schedule;
  const { cron, timeZone, backfill } = definition;
  const timetable = Timetable.of(cron, timeZone);
  const { ticks, next, passedOver } = dueTicks(
    timetable,
    { backfill, nextTickAt },
    databaseNow,
    limit,
  );
  const occurrences = ticks.map((tick) => occurrence(schedule, tick));
  return {
    name,
    revision,
    expectedTickAt: nextTickAt,
    nextTickAt: next,
    lastTickAt: ticks.at(-1),
    runs: scheduledRuns(schedule, occurrences, terms),
    passedOver,
    queue: definition.queue,
  };
}
