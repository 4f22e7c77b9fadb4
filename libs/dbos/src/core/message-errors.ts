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

/** Nobody was given this token, or its workflow is gone. */
export class TokenNotFoundError extends DbosError {
  readonly code = 'DBOS_TOKEN_NOT_FOUND';

  constructor() {
    super('There is no such token. Was it cut off or changed on its way?'); // never with the token, which is a secret
  }
}

/** The time in which the token could be used is over. */
export class TokenExpiredError extends DbosError {
  readonly code = 'DBOS_TOKEN_EXPIRED';

  constructor(readonly workflowId: string) {
    super(`A token of workflow "${workflowId}" has expired without a decision.`);
  }
}

/** Whoever held the token said no. */
export class TokenRejectedError extends DbosError {
  readonly code = 'DBOS_TOKEN_REJECTED';

  constructor(
    readonly workflowId: string,
    readonly reason: string | undefined,
  ) {
    super(
      `What workflow "${workflowId}" asked for was rejected${reason === undefined ? '' : `: ${reason}`}.`,
    );
  }
}

/** `handle.update()` gave up waiting for the reply; the workflow may carry it out all the same. */
export class UpdateTimeoutError extends DbosError {
  readonly code = 'DBOS_UPDATE_TIMEOUT';

  constructor(
    readonly workflowId: string,
    readonly topic: string,
    readonly updateId: string,
  ) {
    super(
      `Workflow "${workflowId}" has not replied to update "${topic}" in time. It may do so later: ask again with ` +
        `updateId "${updateId}" for the same reply.`,
    );
  }
}

/** The workflow has ended without replying. */
export class UpdateNotHandledError extends DbosError {
  readonly code = 'DBOS_UPDATE_NOT_HANDLED';

  constructor(
    readonly workflowId: string,
    readonly topic: string,
  ) {
    super(`Workflow "${workflowId}" has ended without replying to update "${topic}".`);
  }
}
