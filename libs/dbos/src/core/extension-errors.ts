/** What can go wrong in code of the application that is put around workflows and steps. */
import { DbosError, describeError, RunInterruptedError } from './errors.js';

/** An interceptor called `next` twice. The body runs once in each execution, so the second call runs nothing. */
export class InterceptorError extends DbosError {
  readonly code = 'DBOS_INTERCEPTOR';

  constructor(readonly place: string) {
    super(
      `An interceptor around ${place} called next() twice. The body runs once; to try a step again, give it maxRetries.`,
    );
  }
}

/** A context carrier could not say what is to be carried; nothing was started. */
export class ContextCaptureError extends DbosError {
  readonly code = 'DBOS_CONTEXT_CAPTURE';

  constructor(
    readonly carrier: string,
    /** What is wrong; never quotes the value, which may be confidential. */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(
      `The context of "${carrier}" cannot be carried: ${reason}. Nothing was started.`,
      options,
    );
  }
}

/** What a workflow carries cannot be given back to its code. The workflow is suspended before any of it has run. */
export class ContextRestoreError extends RunInterruptedError {
  readonly code = 'DBOS_CONTEXT_RESTORE';

  constructor(
    readonly workflowId: string,
    readonly carrier: string,
    cause: unknown,
  ) {
    super(
      `The context "${carrier}" of workflow "${workflowId}" cannot be restored: ${describeError(cause)} The workflow ` +
        'is suspended and nothing of it was run; correct the carrier or bring back the key, then resume it.',
      { cause },
    );
  }
}
