// An hourly timetable whose ticks lie half an hour from now, so that no test stands on the edge of a tick.

const HOUR_MS = 3_600_000;
const HALF_MS = HOUR_MS / 2;
const MINUTE_MS = 60_000;

/** The last tick before the tests began. */
const lastMs = Math.floor((Date.now() - HALF_MS) / MINUTE_MS) * MINUTE_MS;

/** As cron expression, in UTC. */
export const HALF_PAST = `${new Date(lastMs).getUTCMinutes()} * * * *`;

/** The tick so many hours before the last one. */
export function tickBefore(hours: number): Date {
  return new Date(lastMs - hours * HOUR_MS);
}

/** The last tick, half an hour ago. */
export const LAST_TICK = tickBefore(0);

/** The first tick to come, in half an hour. */
export const COMING_TICK = tickBefore(-1);

/** The id of the workflow that a tick becomes. */
export function runId(name: string, tick: Date): string {
  return `sched-${name}-${tick.toISOString()}`;
}
