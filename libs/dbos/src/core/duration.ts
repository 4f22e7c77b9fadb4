/** Spans of time: numbers are milliseconds, strings are '500ms', '30s', '5m', '1h', '3d'. */
import { InvalidArgumentError } from './errors.js';
import { shown } from './shown.js';

/** Milliseconds, or a number with a unit: `'250ms'`, `'1.5s'`, `'5m'`, `'1h'`, `'3d'`, `'2w'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`;

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const DURATION = /^(-?\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/;

/** The largest moment a `Date` can hold, in epoch milliseconds (ECMA-262, "Time Values and Time Range"). */
const MAX_EPOCH_MS = 8_640_000_000_000_000;

/**
 * Whole milliseconds of a span, fractions rounded up; a negative span is 0.
 * @throws InvalidArgumentError for NaN, infinities and texts that are no duration
 */
export function durationMs(what: string, duration: Duration): number {
  const ms = typeof duration === 'string' ? parse(duration) : duration;
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw new InvalidArgumentError(
      `${what} must be a finite number of milliseconds or a text such as '30s' or '3d', not ${shown(duration)}.`,
    );
  }
  return Math.max(0, Math.ceil(ms));
}

function parse(text: string): number {
  const match = DURATION.exec(text.trim());
  return match ? Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? Number.NaN) : Number.NaN;
}

/**
 * The moment, in epoch milliseconds, that is a span after `nowMs`, or the given `Date` itself.
 * @throws InvalidArgumentError for an invalid date or a span beyond the range of dates
 */
export function momentMs(what: string, when: Duration | Date, nowMs: number): number {
  const moment = when instanceof Date ? when.getTime() : Math.ceil(nowMs) + durationMs(what, when);
  if (!Number.isFinite(moment) || Math.abs(moment) > MAX_EPOCH_MS) {
    throw new InvalidArgumentError(`${what} must lie within the range of dates.`);
  }
  return moment;
}
