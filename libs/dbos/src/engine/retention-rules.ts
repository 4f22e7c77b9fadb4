/** How long workflows that have ended are kept: what an application configures, and the checks of it. */
import { durationMs, type Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import type { TerminalStatus } from '../core/status.js';

/** Removes what either of the two says. */
export interface KeepOptions {
  /** Removed this long after its end, by the database's clock; of what was imported, after the import. */
  readonly maxAge?: Duration;
  /** Of each outcome the newest so many are kept, by the order of arrival. */
  readonly maxCount?: number;
}

/**
 * What becomes of workflows that have ended, and of all that belongs to them: steps, messages, events, tokens, streams.
 * What is active is never touched, nor a child whose parent has not ended.
 */
export interface RetentionOptions extends KeepOptions {
  /** Other rules for some outcomes, in place of those above; `forever` keeps all. */
  readonly outcomes?: Readonly<Partial<Record<RetainedOutcome, KeepOptions | 'forever'>>>;
  /** Pause between two sweeps. Default one minute. */
  readonly interval?: Duration;
  /** Workflows that one statement looks at, 1 to 10,000. Between two batches it rests as long as the first took. Default 500. */
  readonly batchSize?: number;
}

export type RetainedOutcome = 'success' | 'error' | 'cancelled' | 'deadLettered';

/** A rule for one outcome. */
export interface RetentionRule {
  readonly outcome: TerminalStatus;
  readonly maxAgeMs: number | undefined;
  readonly maxCount: number | undefined;
}

export interface RetentionRules {
  readonly rules: readonly RetentionRule[];
  readonly intervalMs: number;
  readonly batchSize: number;
}

const OUTCOMES: Readonly<Record<RetainedOutcome, TerminalStatus>> = {
  success: 'SUCCESS',
  error: 'ERROR',
  cancelled: 'CANCELLED',
  deadLettered: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
};
const DEFAULT_INTERVAL_MS = 60_000;
const MIN_INTERVAL_MS = 100;
const DEFAULT_BATCH_SIZE = 500;
const MAX_BATCH_SIZE = 10_000;
const MAX_COUNT = 2_147_483_647;

/** @throws InvalidArgumentError naming the option, its value and what it may be */
export function retentionRules(options: RetentionOptions): RetentionRules {
  const { outcomes = {}, interval = DEFAULT_INTERVAL_MS, batchSize = DEFAULT_BATCH_SIZE } = options;
  const unknown = Object.keys(outcomes).find((name) => !(name in OUTCOMES));
  if (unknown !== undefined) {
    const known = Object.keys(OUTCOMES).join(', ');
    throw new InvalidArgumentError(`retention.outcomes may name ${known}, not ${unknown}.`);
  }
  const intervalMs = durationMs('retention.interval', interval);
  if (intervalMs < MIN_INTERVAL_MS)
    throw new InvalidArgumentError(`retention.interval must be at least ${MIN_INTERVAL_MS} ms.`);
  const rules = (Object.keys(OUTCOMES) as RetainedOutcome[]).flatMap((name) => {
    const keep = outcomes[name] ?? options;
    if (keep === 'forever') return [];
    const rule = ruleOf(`retention${outcomes[name] ? `.outcomes.${name}` : ''}`, keep);
    return rule ? [{ outcome: OUTCOMES[name], ...rule }] : [];
  });
  if (rules.length === 0)
    throw new InvalidArgumentError('retention needs a maxAge or a maxCount for some outcome.');
  return {
    rules,
    intervalMs,
    batchSize: whole('retention.batchSize', batchSize, 1, MAX_BATCH_SIZE),
  };
}

function ruleOf(
  what: string,
  { maxAge, maxCount }: KeepOptions,
): Omit<RetentionRule, 'outcome'> | undefined {
  if (maxAge === undefined && maxCount === undefined) return undefined;
  return {
    maxAgeMs: maxAge === undefined ? undefined : age(`${what}.maxAge`, maxAge),
    maxCount:
      maxCount === undefined ? undefined : whole(`${what}.maxCount`, maxCount, 0, MAX_COUNT),
  };
}

/** A negative one is a mistake, and not a wish to keep nothing. */
function age(what: string, maxAge: Duration): number {
  const isNegative = typeof maxAge === 'string' ? maxAge.trim().startsWith('-') : maxAge < 0;
  if (isNegative) throw new InvalidArgumentError(`${what} must not be negative, but is ${maxAge}.`);
  return durationMs(what, maxAge);
}

function whole(what: string, value: unknown, min: number, max: number): number {
  const isUsable = Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
  if (isUsable) return value as number;
  throw new InvalidArgumentError(
    `${what} must be a whole number from ${min} to ${max}, not ${String(value)}.`,
  );
}
