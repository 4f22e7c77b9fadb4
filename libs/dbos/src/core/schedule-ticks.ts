/** Which ticks of a schedule are due: those on time, and of the missed ones those that its policy asks for. */
import type { Timetable } from './schedule-timetable.js';

/**
 * What becomes of ticks that nobody was there to fire: nothing (`skip`), one run for the last of them (`latest`), or a
 * run for each (`all`).
 */
export type MissedTicks = 'skip' | 'latest' | 'all';

export const MISSED_TICKS: readonly MissedTicks[] = ['skip', 'latest', 'all'];

/** A tick that is later than this was missed. Longer than a restart, or a look after a lost connection, takes. */
export const ON_TIME_MS = 60_000;

export interface Standing {
  readonly backfill: MissedTicks;
  /** The first tick that has been neither fired nor passed over. */
  readonly nextTickAt: Date;
}

export interface DueTicks {
  /** To be fired now, in order. */
  readonly ticks: readonly Date[];
  /** The first tick after those; where it has come already, it is due at the next look. */
  readonly next: Date | undefined;
  /** Whether ticks were missed that nothing is fired for. */
  readonly passedOver: boolean;
}

/** @param limit most ticks to be fired now; at least 1 */
export function dueTicks(
  timetable: Timetable,
  { backfill, nextTickAt }: Standing,
  now: Date,
  limit: number,
): DueTicks {
  if (nextTickAt > now) return { ticks: [], next: nextTickAt, passedOver: false };
  const onTimeFrom = new Date(now.getTime() - ON_TIME_MS);
  const jumps = nextTickAt < onTimeFrom && backfill !== 'all';
  const first = jumps ? timetable.next(before(onTimeFrom)) : nextTickAt;
  const ticks = first ? upTo(timetable, { first, now, limit }) : [];
  const last = ticks.at(-1);
  if (last) return { ticks, next: timetable.next(last), passedOver: jumps };
  if (backfill === 'skip') return { ticks, next: first, passedOver: true };
  const latest = later(nextTickAt, timetable.previous(onTimeFrom));
  return { ticks: [latest], next: first, passedOver: latest > nextTickAt };
}

interface Run {
  readonly first: Date;
  readonly now: Date;
  readonly limit: number;
}

function upTo(timetable: Timetable, { first, now, limit }: Run): Date[] {
  if (first > now) return [];
  const rest = { from: after(first), until: after(now), limit: limit - 1 };
  return [first, ...timetable.ticks(rest)];
}

function before(moment: Date): Date {
  return new Date(moment.getTime() - 1);
}

function after(moment: Date): Date {
  return new Date(moment.getTime() + 1);
}

function later(one: Date, other: Date | undefined): Date {
  return other && other > one ? other : one;
}
