/** The limits of a queue as columns, and back. */
import type { QueueLimits } from '../core/queue.js';

export interface LimitColumns {
  readonly concurrency: number | null;
  readonly worker_concurrency: number | null;
  readonly rate_limit: number | null;
  readonly rate_period_ms: number | null;
  readonly is_partitioned: boolean;
  readonly partition_concurrency: number | null;
  readonly partition_rate_limit: number | null;
  readonly partition_rate_period_ms: number | null;
}

export function limitColumns({
  concurrency,
  workerConcurrency,
  rateLimit,
  partition,
}: QueueLimits): LimitColumns {
  return {
    concurrency: concurrency ?? null,
    worker_concurrency: workerConcurrency ?? null,
    rate_limit: rateLimit?.limit ?? null,
    rate_period_ms: rateLimit?.periodMs ?? null,
    is_partitioned: partition !== undefined,
    partition_concurrency: partition?.concurrency ?? null,
    partition_rate_limit: partition?.rateLimit?.limit ?? null,
    partition_rate_period_ms: partition?.rateLimit?.periodMs ?? null,
  };
}

export function limitsOf(row: LimitColumns): QueueLimits {
  const rateLimit = rateOf(row.rate_limit, row.rate_period_ms);
  const partitionRate = rateOf(row.partition_rate_limit, row.partition_rate_period_ms);
  const partition = {
    ...(row.partition_concurrency !== null && { concurrency: row.partition_concurrency }),
    ...(partitionRate && { rateLimit: partitionRate }),
  };
  return {
    ...(row.concurrency !== null && { concurrency: row.concurrency }),
    ...(row.worker_concurrency !== null && { workerConcurrency: row.worker_concurrency }),
    ...(rateLimit && { rateLimit }),
    ...(row.is_partitioned && { partition }),
  };
}

function rateOf(limit: number | null, periodMs: number | null): QueueLimits['rateLimit'] {
  return limit === null || periodMs === null ? undefined : { limit, periodMs };
}
