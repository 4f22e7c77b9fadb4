/** Errors of streams. */
import { DbosError } from './errors.js';

/** The stream was closed; nothing can be appended to it any more. */
export class StreamClosedError extends DbosError {
  readonly code = 'DBOS_STREAM_CLOSED';

  constructor(
    readonly workflowId: string,
    readonly streamKey: string,
  ) {
    super(
      `Stream "${streamKey}" of workflow "${workflowId}" is closed. Write before flow.closeStream(), or under another key.`,
    );
  }
}
