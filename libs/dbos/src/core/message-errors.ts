/** Errors of what workflows are told and asked while they run. */
import { DbosError } from './errors.js';

/** `recvOrThrow()` gave up waiting. */
export class RecvTimeoutError extends DbosError {
  readonly code = 'DBOS_RECV_TIMEOUT';

  constructor(
    readonly workflowId: string,
    /** Undefined for none. */
    readonly topic: string | undefined,
  ) {
    const on = topic === undefined ? '' : ` on topic "${topic}"`;
    super(`No message${on} came to workflow "${workflowId}" in time.`);
  }
}
