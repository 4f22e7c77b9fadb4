/**
 * Every error the library throws: a stable `code` for programs, and for people what happened, to which id, and
 * what to do. Match on `code` (or `name`), never on the class: an error read back from a checkpoint is a copy.
 */

/** Base of all errors of the library. */
export abstract class DbosError extends Error {
  /** Stable, `DBOS_…`; safe to match on, also after a replay. */
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    Object.defineProperty(this, 'name', {
      value: new.target.name,
      configurable: true,
      writable: true,
    });
  }
}

/** An option, argument or id that cannot be used as given. */
export class InvalidArgumentError extends DbosError {
  readonly code = 'DBOS_INVALID_ARGUMENT';
}

/** A registration that cannot work: a duplicate name, an unsuitable scope, a registration that came too late. */
export class RegistrationError extends DbosError {
  readonly code = 'DBOS_REGISTRATION';
}

/** Asked for a workflow that no provider of this application registers. */
export class WorkflowNotRegisteredError extends DbosError {
  readonly code = 'DBOS_WORKFLOW_NOT_REGISTERED';

  constructor(readonly workflowName: string) {
    super(
      `No workflow named "${workflowName}" is registered in this application. ` +
        'Add the class to the providers of a module and mark its method with @Workflow().',
    );
  }
}

/** No workflow has this id. */
export class WorkflowNotFoundError extends DbosError {
  readonly code = 'DBOS_WORKFLOW_NOT_FOUND';

  constructor(readonly workflowId: string) {
    super(`There is no workflow with id "${workflowId}".`);
  }
}

/** The id belongs to a workflow of another name; one id is one execution of one workflow. */
export class WorkflowIdConflictError extends DbosError {
  readonly code = 'DBOS_WORKFLOW_ID_CONFLICT';

  constructor(
    readonly workflowId: string,
    readonly existingName: string,
    readonly requestedName: string,
  ) {
    super(
      `Workflow id "${workflowId}" already belongs to "${existingName}", so it cannot start "${requestedName}". ` +
        'Use another id.',
    );
  }
}

/** `result({ timeout })` gave up waiting; the workflow itself goes on. */
export class ResultTimeoutError extends DbosError {
  readonly code = 'DBOS_RESULT_TIMEOUT';

  constructor(
    readonly workflowId: string,
    readonly timeoutMs: number,
  ) {
    super(
      `Workflow "${workflowId}" had no outcome within ${timeoutMs} ms. It goes on; ask for its result again later.`,
    );
  }
}

/** Why a workflow is CANCELLED: somebody asked for it, or its time was up. */
export type CancelReason = 'requested' | 'deadline';

/** The awaited workflow was cancelled. */
export class WorkflowCancelledError extends DbosError {
  readonly code = 'DBOS_WORKFLOW_CANCELLED';

  constructor(
    readonly workflowId: string,
    readonly reason: CancelReason = 'requested',
  ) {
    super(
      `Workflow "${workflowId}" was cancelled${reason === 'deadline' ? ' at its deadline' : ''}. ` +
        'Resume it to let it go on from its last completed step.',
    );
  }
}

/** The workflow took its executor down too often and was set aside. */
export class RecoveryAttemptsExceededError extends DbosError {
  readonly code = 'DBOS_RECOVERY_ATTEMPTS_EXCEEDED';

  constructor(
    readonly workflowId: string,
    readonly maxRecoveryAttempts: number,
  ) {
    super(
      `Workflow "${workflowId}" was set aside after more than ${maxRecoveryAttempts} recoveries. ` +
        'Find out why its executor dies, then resume it.',
    );
  }
}

/** The engine is not running (not launched yet, or shut down). */
export class EngineNotRunningError extends DbosError {
  readonly code = 'DBOS_NOT_RUNNING';
}

/** The database could not be reached for as long as the caller was ready to wait. */
export class DatabaseUnavailableError extends DbosError {
  readonly code = 'DBOS_DATABASE_UNAVAILABLE';
}

/** Transactions of the database begin at a level at which claims could not count what others have just committed. */
export class IsolationLevelError extends DbosError {
  readonly code = 'DBOS_ISOLATION_LEVEL';

  constructor(readonly level: string) {
    super(
      `Connections of the Prisma client begin transactions at ${level.toUpperCase()}, and limits of queues can be kept ` +
        "only at READ COMMITTED. Set default_transaction_isolation to 'read committed' for the role or the database, or " +
        'give the module a client whose connections do, and ask for another level where a transaction needs it.',
    );
  }
}

/** The database refused this one row (too large, not encodable). Its neighbours in the batch are unharmed. */
export class RowRefusedError extends DbosError {
  readonly code = 'DBOS_ROW_REFUSED';
}

/** Another live process already uses this executor id. */
export class ExecutorIdTakenError extends DbosError {
  readonly code = 'DBOS_EXECUTOR_ID_TAKEN';

  constructor(
    readonly executorId: string,
    holder: string,
  ) {
    super(
      `Executor id "${executorId}" is in use by a live process (${holder}). Two processes must never share an id: ` +
        'give each its own `executorId`, or leave it out to get a unique one at every start.',
    );
  }
}

/** A durable operation was called where no workflow is running. */
export class NotInWorkflowError extends DbosError {
  readonly code = 'DBOS_NOT_IN_WORKFLOW';

  constructor(operation: string) {
    super(
      `${operation} works only inside a running workflow. Call it from a method marked with @Workflow().`,
    );
  }
}

/** A durable operation was called inside a step; nothing was written and no step id was used. */
export class ForbiddenInStepError extends DbosError {
  readonly code = 'DBOS_FORBIDDEN_IN_STEP';

  constructor(
    readonly operation: string,
    readonly stepName: string,
  ) {
    super(
      `${operation} cannot be called inside step "${stepName}": a step is one unit of work with one checkpoint. ` +
        'Call it from the workflow, before or after the step.',
    );
  }
}

/** Thrown by a step body to say that trying again is pointless; recorded at once, whatever retries remain. */
export class FatalStepError extends DbosError {
  /** A subclass may have its own. */
  readonly code: string = 'DBOS_FATAL_STEP';
}

/** Thrown by a step body to set the wait before its next attempt. Counts against `maxRetries` as any failure. */
export class RetryAfterError extends DbosError {
  readonly code: string = 'DBOS_RETRY_AFTER';

  /**
   * @param message what went wrong
   * @param retryAfter milliseconds, or the moment at which to try again
   */
  constructor(
    message: string,
    readonly retryAfter: number | Date,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A step failed at every attempt it had. `errors` holds the error of each attempt, in order (of the first and last 50). */
export class StepRetriesExhaustedError extends DbosError {
  readonly code = 'DBOS_STEP_RETRIES_EXHAUSTED';

  constructor(
    readonly stepName: string,
    readonly maxRetries: number,
    readonly errors: readonly unknown[],
    /** Attempts whose errors were not kept, so that endless retries do not fill the memory. */
    readonly omittedErrors = 0,
  ) {
    const omitted = omittedErrors > 0 ? ` (${omittedErrors} more are left out)` : '';
    super(
      `Step "${stepName}" has exceeded its maximum of ${maxRetries} retries. Its attempts failed with${omitted}: ` +
        numbered(errors, omittedErrors),
      { cause: errors.at(-1) },
    );
  }
}

/** Each error under the number of its attempt; what was left out lies in the middle. */
function numbered(errors: readonly unknown[], omitted: number): string {
  const numberOf = (index: number): number =>
    index < errors.length / 2 ? index + 1 : index + 1 + omitted;
  return errors.map((error, index) => `(${numberOf(index)}) ${describeError(error)}`).join('; ');
}

/** One attempt of a step took longer than its `timeoutMs`. The attempt is abandoned; its late result is ignored. */
export class StepTimeoutError extends DbosError {
  readonly code = 'DBOS_STEP_TIMEOUT';

  constructor(
    readonly stepName: string,
    readonly timeoutMs: number,
  ) {
    super(`An attempt of step "${stepName}" did not finish within ${timeoutMs} ms.`);
  }
}

/**
 * Ends a run from outside of its code. It may be caught by the workflow's code, but not into a success: every
 * further durable operation throws it again and the run writes no outcome of its own.
 */
export abstract class RunInterruptedError extends DbosError {}

/** This run was cancelled. */
export class RunCancelledError extends RunInterruptedError {
  readonly code = 'DBOS_RUN_CANCELLED';

  constructor(
    readonly workflowId: string,
    readonly reason: CancelReason = 'requested',
  ) {
    super(
      reason === 'deadline'
        ? `Workflow "${workflowId}" came to its deadline while it was running.`
        : `Workflow "${workflowId}" was cancelled while it was running.`,
    );
  }
}

/** Another executor has taken this workflow over; this run can write nothing more. */
export class OwnershipLostError extends RunInterruptedError {
  readonly code = 'DBOS_OWNERSHIP_LOST';

  constructor(readonly workflowId: string) {
    super(`Workflow "${workflowId}" is no longer owned by this run; it goes on elsewhere.`);
  }
}

/** An operation was called after its workflow had ended, by something the workflow did not await. */
export class WorkflowEndedError extends RunInterruptedError {
  readonly code = 'DBOS_WORKFLOW_ENDED';

  constructor(readonly workflowId: string) {
    super(
      `Workflow "${workflowId}" has ended, so nothing of it is recorded any more. Await in the workflow what belongs to it.`,
    );
  }
}

/** The executor is shutting down; the workflow goes on at its next step on another one. */
export class ExecutorStoppingError extends RunInterruptedError {
  readonly code = 'DBOS_EXECUTOR_STOPPING';

  constructor(readonly workflowId: string) {
    super(`This executor is shutting down; workflow "${workflowId}" continues on another one.`);
  }
}

/** A value of this run could be neither kept nor ignored; the workflow ends with this error. */
export class CheckpointRefusedError extends RunInterruptedError {
  readonly code = 'DBOS_CHECKPOINT_REFUSED';

  constructor(
    readonly workflowId: string,
    readonly stepName: string,
    cause: unknown,
  ) {
    super(
      `The database refused the checkpoint of step "${stepName}" of workflow "${workflowId}".`,
      { cause },
    );
  }
}

/** What the history says, and what the code asked for in its place; `undefined` where one side has nothing. */
export interface HistoryDifference {
  readonly stepId: string;
  readonly recorded: string | undefined;
  readonly requested: string | undefined;
}

/** The code no longer matches its history. The workflow is suspended: a redeploy or an operator can resume it. */
export class NonDeterminismError extends RunInterruptedError {
  readonly code = 'DBOS_NON_DETERMINISM';

  /** @param cause the error with which the code ended before it came to the recorded step */
  constructor(
    readonly workflowId: string,
    readonly difference: HistoryDifference,
    cause?: unknown,
  ) {
    const end = cause === undefined ? '' : ` (it threw ${describeError(cause)})`;
    super(
      `Workflow "${workflowId}" does not match its history: ${describeDifference(difference)}${end}. ` +
        'It is suspended and nothing was run in place of the recorded step. ' +
        'Deploy code that matches the history, or resume it after correcting the code.',
      cause === undefined ? undefined : { cause },
    );
  }
}

/** A recorded outcome cannot be read with the serializers of this application. The workflow is suspended. */
export class UnreadableHistoryError extends RunInterruptedError {
  readonly code = 'DBOS_UNREADABLE_HISTORY';

  constructor(
    readonly workflowId: string,
    readonly stepId: string,
    readonly stepName: string,
    cause: unknown,
  ) {
    super(
      `The recorded outcome of step ${stepId} "${stepName}" of workflow "${workflowId}" cannot be read: ` +
        `${describeError(cause)} The workflow is suspended; deploy the serializer that wrote it, then resume.`,
      { cause },
    );
  }
}

/** The stored arguments of a workflow cannot be read with the serializers of this application. The workflow is suspended. */
export class UnreadableArgumentsError extends RunInterruptedError {
  readonly code = 'DBOS_UNREADABLE_ARGUMENTS';

  constructor(
    readonly workflowId: string,
    readonly workflowName: string,
    cause: unknown,
  ) {
    super(
      `The stored arguments of workflow "${workflowId}" (${workflowName}) cannot be read: ${describeError(cause)} ` +
        'The workflow is suspended; deploy what wrote them, then resume.',
      { cause },
    );
  }
}

function describeDifference({ stepId, recorded, requested }: HistoryDifference): string {
  if (recorded === undefined)
    return `step ${stepId} was not recorded, the code asked for "${requested}"`;
  if (requested === undefined)
    return `expected step ${stepId} "${recorded}", the code ended without it`;
  return `expected step ${stepId} "${recorded}", the code asked for "${requested}"`;
}

/** One line about any thrown value, for messages and logs. */
export function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
