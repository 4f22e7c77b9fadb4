/** What is told of a workflow, without its payloads. */
import type { CancelReason } from '../core/errors.js';
import type { WorkflowStatus } from '../core/status.js';
import type { WorkflowState } from '../repository/workflow-repository.js';
import type { OutcomeCodec } from './outcome.js';

/** What is known of a workflow, without its payloads. */
export interface WorkflowStatusReport {
  readonly workflowId: string;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly executorId: string | null;
  readonly recoveryAttempts: number;
  /** Runs that failed and were tried again. */
  readonly failures: number;
  /** The queue it was put on; null for one that was started. */
  readonly queue: string | null;
  readonly priority: number;
  readonly partitionKey: string | null;
  readonly deduplicationId: string | null;
  readonly parentId: string | null;
  readonly applicationVersion: string | null;
  readonly attributes: Readonly<Record<string, unknown>> | null;
  /** Why it failed, was set aside or is suspended. */
  readonly error: string | null;
  /** When a delayed or sleeping workflow goes on. */
  readonly wakeAt: Date | null;
  /** Longest time to its end; null for none of its own. */
  readonly timeoutMs: number | null;
  /** When it is cancelled unless it has ended; null for never, or while a timeout has not begun. */
  readonly deadline: Date | null;
  /** Why it is CANCELLED. */
  readonly cancelReason: CancelReason | null;
  /** The workflow whose steps it began with. */
  readonly forkedFrom: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly completedAt: Date | null;
}

export function statusReport(record: WorkflowState, codec: OutcomeCodec): WorkflowStatusReport {
  return {
    workflowId: record.id,
    name: record.name,
    status: record.status,
    executorId: record.executorId,
    recoveryAttempts: record.recoveryAttempts,
    failures: record.failures,
    queue: record.queue,
    priority: record.priority,
    partitionKey: record.partitionKey,
    deduplicationId: record.deduplicationId,
    parentId: record.parentId,
    applicationVersion: record.applicationVersion,
    attributes: record.attributes,
    error: record.error && codec.serializers.decodeError(record.error).message,
    wakeAt: record.wakeAt,
    timeoutMs: record.timeoutMs,
    deadline: record.deadline,
    cancelReason: record.cancelReason,
    forkedFrom: record.forkedFrom,
    createdAt: record.createdAt,
    startedAt: record.startedAt,
    completedAt: record.completedAt,
  };
}
