/** Queues as words: their limits, what may be asked of them, and the checks of both. */
import { durationMs, momentMs, type Duration } from './duration.js';
import { givenOptions } from './given.js';
import { InvalidArgumentError } from './errors.js';
import type { TransactionalOptions } from './open-transaction.js';
import { assertIdentifier } from './identifiers.js';
import { retryPolicy, type RetryPolicy } from './retry.js';
import type { TimeLimitOptions } from './time-limit.js';
import { shown } from './shown.js';

/** Claims in any period of this length, wherever it begins, by the database's clock. */
export interface RateLimit {
  readonly limit: number;
  readonly periodMs: number;
}

/** Limits that hold for each partition by itself. */
export interface PartitionLimits {
  /** Most workflows of one partition at work at once, in all processes together. */
  readonly concurrency?: number;
  readonly rateLimit?: RateLimit;
}

/** What can be changed while processes run. Absent means unlimited. */
export interface QueueLimits {
  /** Most workflows of the queue at work at once, in all processes together. */
  readonly concurrency?: number;
  /** Most workflows of the queue at work at once in one process. */
  readonly workerConcurrency?: number;
  readonly rateLimit?: RateLimit;
  /** Given, every workflow of the queue needs a `partitionKey`. */
  readonly partition?: PartitionLimits;
}

export interface QueueOptions extends QueueLimits {
  /** Unique in the database: processes that register the same name share the queue and its limits. */
  readonly name: string;
  /**
   * Runs a workflow again that failed, from its last failed step on, as one step is tried again. Default: never.
   * `maxRetries` is required; the wait begins with 1,000 ms.
   */
  readonly retry?: Partial<RetryPolicy> & { readonly maxRetries: number };
}

/** A validated queue. */
export interface QueueDefinition {
  readonly name: string;
  readonly limits: QueueLimits;
  readonly retry: RetryPolicy | undefined;
}

/** What happens when an active workflow of the queue has the deduplication id already. */
export type DeduplicationPolicy =
  /** DeduplicatedError. */
  | 'reject'
  /** The handle of the one that is there; the new input is dropped. */
  | 'attach'
  /** The one that waits gets the new input and options; one that has begun is a DeduplicatedError. */
  | 'replace';

export interface EnqueueOptions extends TimeLimitOptions, TransactionalOptions {
  /** Which version of the workflow, where several are registered (`@Workflow({ version })`). Default: the newest. */
  readonly version?: number;
  /** The idempotency key: the same id again attaches to the first execution. Default: a UUID of version 7. */
  readonly workflowId?: string;
  /** A JSON object to find the workflow by later. Not inherited by children. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** The lowest first; any 32-bit integer. Default 0. */
  readonly priority?: number;
  /** Required on a partitioned queue, refused on others. */
  readonly partitionKey?: string;
  /** At most one active workflow of the queue has it. */
  readonly deduplicationId?: string;
  /** Default `reject`. */
  readonly deduplication?: DeduplicationPolicy;
  /** Not claimed before this span has passed, by the database's clock. */
  readonly delay?: Duration;
  /** Not claimed before this moment, by the database's clock. */
  readonly runAt?: Date;
}

/** Where and how a workflow waits; checked. */
export interface Placement {
  readonly queue: string;
  readonly priority?: number;
  readonly partitionKey?: string;
  readonly deduplicationId?: string;
  readonly delayMs?: number;
  readonly runAt?: Date;
}

const POLICIES: ReadonlySet<string> = new Set<DeduplicationPolicy>(['reject', 'attach', 'replace']);
const MAX_INT = 2_147_483_647;
const MIN_INT = -2_147_483_648;
const FIRST_RETRY_MS = 1_000;

/** @throws InvalidArgumentError naming the queue, the option and what it may be */
export function defineQueue({ name, retry, ...limits }: QueueOptions): QueueDefinition {
  assertIdentifier('A queue name', name);
  return {
    name,
    limits: checkedLimits(`Queue "${name}"`, limits),
    retry:
      retry && retryPolicy(`Queue "${name}": retry`, { baseIntervalMs: FIRST_RETRY_MS, ...retry }),
  };
}

/** @throws InvalidArgumentError */
export function checkedLimits(what: string, limits: QueueLimits): QueueLimits {
  givenOptions(what, limits);
  const { concurrency, workerConcurrency, rateLimit, partition } = limits;
  const checked = {
    ...(concurrency !== undefined && { concurrency: count(`${what}: concurrency`, concurrency) }),
    ...(workerConcurrency !== undefined && {
      workerConcurrency: count(`${what}: workerConcurrency`, workerConcurrency),
    }),
    ...(rateLimit && { rateLimit: checkedRate(`${what}: rateLimit`, rateLimit) }),
    ...(partition && { partition: checkedPartition(`${what}: partition`, partition) }),
  };
  if (
    concurrency !== undefined &&
    workerConcurrency !== undefined &&
    workerConcurrency > concurrency
  ) {
    throw new InvalidArgumentError(
      `${what}: workerConcurrency (${workerConcurrency}) must not exceed concurrency (${concurrency}).`,
    );
  }
  return checked;
}

function checkedPartition(
  what: string,
  { concurrency, rateLimit }: PartitionLimits,
): PartitionLimits {
  if (concurrency === undefined && rateLimit === undefined) {
    throw new InvalidArgumentError(`${what} needs a concurrency or a rateLimit.`);
  }
  return {
    ...(concurrency !== undefined && { concurrency: count(`${what}.concurrency`, concurrency) }),
    ...(rateLimit && { rateLimit: checkedRate(`${what}.rateLimit`, rateLimit) }),
  };
}

function checkedRate(what: string, { limit, periodMs }: RateLimit): RateLimit {
  return { limit: count(`${what}.limit`, limit), periodMs: count(`${what}.periodMs`, periodMs) };
}

function count(what: string, value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_INT)
    return value as number;
  throw new InvalidArgumentError(
    `${what} must be a whole number from 1 to ${MAX_INT}, not ${shown(value)}.`,
  );
}

/** @throws InvalidArgumentError */
export function placementOn({ name, limits }: QueueDefinition, options: EnqueueOptions): Placement {
  const what = `Queue "${name}"`;
  const { partitionKey, deduplicationId, deduplication, priority, delay, runAt } = options;
  if (limits.partition && partitionKey === undefined) {
    throw new InvalidArgumentError(`${what} is partitioned: enqueue with a partitionKey.`);
  }
  if (!limits.partition && partitionKey !== undefined) {
    throw new InvalidArgumentError(
      `${what} is not partitioned: leave the partitionKey out, or give the queue partition limits.`,
    );
  }
  if (deduplication !== undefined && !POLICIES.has(deduplication)) {
    throw new InvalidArgumentError(
      `${what}: deduplication must be 'reject', 'attach' or 'replace', not ${deduplication as string}.`,
    );
  }
  if (delay !== undefined && runAt !== undefined) {
    throw new InvalidArgumentError(`${what}: give a delay or runAt, not both.`);
  }
  return {
    queue: name,
    priority: priority === undefined ? undefined : checkedPriority(priority),
    partitionKey: givenIdentifier('A partitionKey', partitionKey),
    deduplicationId: givenIdentifier('A deduplicationId', deduplicationId),
    delayMs: delay === undefined ? undefined : delayMs(`${what}: delay`, delay),
    runAt: runAt === undefined ? undefined : new Date(momentMs(`${what}: runAt`, runAt, 0)),
  };
}

function givenIdentifier(what: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : assertIdentifier(what, value);
}

/** @throws InvalidArgumentError also for a negative one: it is a mistake, and not in the past */
export function delayMs(what: string, delay: Duration): number {
  const isNegative =
    typeof delay === 'string'
      ? delay.trim().startsWith('-')
      : typeof delay === 'number' && delay < 0;
  if (isNegative) throw new InvalidArgumentError(`${what} must not be negative, but is ${delay}.`);
  return durationMs(what, delay);
}

/** @throws InvalidArgumentError */
export function checkedPriority(priority: unknown): number {
  const isUsable =
    Number.isInteger(priority) &&
    (priority as number) >= MIN_INT &&
    (priority as number) <= MAX_INT;
  if (isUsable) return priority as number;
  throw new InvalidArgumentError(
    `A priority must be a whole number from ${MIN_INT} to ${MAX_INT}, not ${shown(priority)}.`,
  );
}
