/** Errors of queues. */
import { DbosError } from './errors.js';
import type { WorkflowStatus } from './status.js';

/** Asked for a queue that this application does not register. */
export class UnknownQueueError extends DbosError {
  readonly code = 'DBOS_UNKNOWN_QUEUE';

  constructor(readonly queueName: string) {
    super(
      `No queue named "${queueName}" is registered in this application. Import ` +
        `DbosModule.registerQueue({ name: '${queueName}' }) in a module.`,
    );
  }
}

/** Another active workflow of the queue has this deduplication id. */
export class DeduplicatedError extends DbosError {
  readonly code = 'DBOS_DEDUPLICATED';

  constructor(
    readonly queueName: string,
    readonly deduplicationId: string,
    readonly workflowId: string,
    readonly status: WorkflowStatus,
  ) {
    super(
      `Queue "${queueName}" has workflow "${workflowId}" (${status}) under the deduplication id "${deduplicationId}". ` +
        "Wait for it to end, or enqueue with deduplication: 'attach' to get its handle, or 'replace' to replace what waits.",
    );
  }
}
