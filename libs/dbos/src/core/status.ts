/** The statuses of a workflow and what each of them allows. The names are DBOS's; SUSPENDED is ours. */

export const WORKFLOW_STATUSES = [
  /** Owned by an executor that runs it (or died doing so). */
  'PENDING',
  /** Waiting to be claimed. */
  'ENQUEUED',
  /** Waiting for its `wakeAt`; holds neither memory nor a slot. */
  'DELAYED',
  'SUCCESS',
  'ERROR',
  'CANCELLED',
  /** Set aside: it was recovered more often than allowed. */
  'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
  /** Its code no longer matches its history; nothing runs until it is resumed or redeployed. */
  'SUSPENDED',
] as const;

export type WorkflowStatus = (typeof WORKFLOW_STATUSES)[number];

/** A status in which `result()` has an answer. */
export type TerminalStatus = 'SUCCESS' | 'ERROR' | 'CANCELLED' | 'MAX_RECOVERY_ATTEMPTS_EXCEEDED';

const TERMINAL: Record<WorkflowStatus, boolean> = {
  PENDING: false,
  ENQUEUED: false,
  DELAYED: false,
  SUSPENDED: false,
  SUCCESS: true,
  ERROR: true,
  CANCELLED: true,
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: true,
};

export function isTerminal(status: WorkflowStatus): status is TerminalStatus {
  return TERMINAL[status];
}
