/** How long a workflow may take: a span or a moment, its own or that of its parent. */
import { durationMs, momentMs, type Duration } from './duration.js';
import { InvalidArgumentError } from './errors.js';

/** Give one of both. A child without either has the deadline of its parent; `null` frees it from that. */
export interface TimeLimitOptions {
  /**
   * Longest time to its end, by the database's clock: from the start on, or from the claim where it waits on a queue. Then
   * it is CANCELLED with the reason `deadline`. Default: none.
   */
  readonly timeout?: Duration | null;
  /** The moment at which it is CANCELLED, whatever it waits for. Default: none. */
  readonly deadline?: Date | null;
}

/** Checked. A timeout without a deadline has not begun. */
export interface TimeLimit {
  readonly timeoutMs?: number;
  readonly deadline?: Date;
}

/**
 * @param inherited the deadline of the parent
 * @throws InvalidArgumentError
 */
export function timeLimitOf(
  { timeout, deadline }: TimeLimitOptions,
  inherited: Date | undefined,
): TimeLimit {
  if (timeout !== undefined && timeout !== null) {
    if (deadline !== undefined && deadline !== null)
      throw new InvalidArgumentError('Give a timeout or a deadline, not both.');
    return { timeoutMs: checkedTimeout(timeout) };
  }
  if (deadline !== undefined && deadline !== null) {
    if (!(deadline instanceof Date))
      throw new InvalidArgumentError('A deadline must be a Date; give a span as `timeout`.');
    return { deadline: new Date(momentMs('A deadline', deadline, 0)) };
  }
  const isFree = timeout === null || deadline === null;
  return inherited && !isFree ? { deadline: inherited } : {};
}

/** The same with a timeout that begins now. */
export function begun<T extends TimeLimit>(limited: T, nowMs: number): T {
  const { timeoutMs, deadline } = limited;
  if (timeoutMs === undefined || deadline) return limited;
  return { ...limited, deadline: new Date(momentMs('A timeout', timeoutMs, nowMs)) };
}

function checkedTimeout(timeout: Duration): number {
  const ms = durationMs('A timeout', timeout);
  if (ms <= 0) throw new InvalidArgumentError(`A timeout must be above 0, not ${timeout}.`);
  momentMs('A timeout', ms, Date.now()); // refused now rather than at the claim
  return ms;
}
