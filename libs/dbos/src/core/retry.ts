/** How often and how long after a failure a step is tried again. Semantics: DBOS, "Steps", Configurable Retries. */
import { InvalidArgumentError } from './errors.js';
import { shown } from './shown.js';

export interface RetryPolicy {
  /** Further tries after the first; 0 tries once. */
  readonly maxRetries: number;
  /** Wait before the first retry. */
  readonly baseIntervalMs: number;
  /** Factor by which each wait exceeds the one before. */
  readonly backoffFactor: number;
  /** Longest wait between two attempts. */
  readonly maxIntervalMs: number;
  /** No retry begins later than this after the first attempt began. Unlimited by default. */
  readonly maxRetryDurationMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxRetries: 0,
  baseIntervalMs: 100,
  backoffFactor: 2,
  maxIntervalMs: 5_000,
  maxRetryDurationMs: Number.POSITIVE_INFINITY,
};

/** Configuration may come from anywhere; a text that compares like a number is still none. */
const isNumber = (value: unknown): boolean => typeof value === 'number';

const LIMITS: Record<
  keyof RetryPolicy,
  { readonly isUsable: (value: number) => boolean; readonly expected: string }
> = {
  maxRetries: {
    isUsable: (value) => value === Infinity || (Number.isInteger(value) && value >= 0),
    expected: 'a whole number of at least 0, or Infinity',
  },
  baseIntervalMs: {
    isUsable: (value) => Number.isFinite(value) && value >= 0,
    expected: 'a finite number of at least 0',
  },
  backoffFactor: {
    isUsable: (value) => Number.isFinite(value) && value >= 1,
    expected: 'a finite number of at least 1',
  },
  maxIntervalMs: {
    isUsable: (value) => isNumber(value) && value >= 0,
    expected: 'a number of at least 0',
  },
  maxRetryDurationMs: {
    isUsable: (value) => isNumber(value) && value > 0,
    expected: 'a number above 0',
  },
};

/** Share by which a wait may deviate, so that callers that failed together do not return together. */
const JITTER = 0.05;

/**
 * Fills in the defaults. A base interval above the default cap raises the cap, unless a cap is given.
 * @throws InvalidArgumentError naming the option that cannot be used
 */
export function retryPolicy(what: string, options: Partial<RetryPolicy>): RetryPolicy {
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Partial<RetryPolicy>;
  const policy = { ...DEFAULT_RETRY_POLICY, ...given };
  for (const [option, { isUsable, expected }] of Object.entries(LIMITS)) {
    const value = policy[option as keyof RetryPolicy];
    if (isUsable(value)) continue;
    throw new InvalidArgumentError(`${what}: ${option} must be ${expected}, not ${shown(value)}.`);
  }
  if (given.maxIntervalMs !== undefined) return policy;
  return { ...policy, maxIntervalMs: Math.max(policy.maxIntervalMs, policy.baseIntervalMs) };
}

/**
 * Wait before the `retry`-th retry (1 is the first): exponential, capped, with at most 5 % jitter.
 * @param random a number in [0, 1)
 */
export function retryDelayMs(policy: RetryPolicy, retry: number, random: number): number {
  if (policy.baseIntervalMs === 0) return 0; // a factor that has grown to Infinity would make it NaN
  const exponential = policy.baseIntervalMs * policy.backoffFactor ** (retry - 1);
  const jitter = 1 - JITTER + 2 * JITTER * random;
  return Math.min(exponential, policy.maxIntervalMs) * jitter;
}
