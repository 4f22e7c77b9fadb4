/** Errors of steps that are one commit with what the application writes in its own transaction. */
import { DbosError } from './errors.js';

/** The transaction's client was asked for where there is no transaction. */
export class NotInTransactionError extends DbosError {
  readonly code = 'DBOS_NOT_IN_TRANSACTION';

  constructor() {
    super(
      'flow.prisma() was called outside of a transaction. Call it in a method marked with @Transaction(), or in what ' +
        'that method awaits.',
    );
  }
}

/** Other transactions kept getting in the way, more often than `maxRetries` allows. */
export class TransactionConflictError extends DbosError {
  readonly code = 'DBOS_TRANSACTION_CONFLICT';

  constructor(
    readonly stepName: string,
    readonly attempts: number,
    cause: unknown,
  ) {
    super(
      `Transaction "${stepName}" was rolled back ${attempts} times because of conflicts with others. Do less in it, ` +
        'lock what it changes first, or raise maxRetries.',
      { cause },
    );
  }
}

/** The transaction took longer than its `timeoutMs`, and was rolled back. */
export class TransactionExpiredError extends DbosError {
  readonly code = 'DBOS_TRANSACTION_EXPIRED';

  constructor(
    readonly stepName: string,
    readonly attempts: number,
    cause: unknown,
  ) {
    super(
      `Transaction "${stepName}" took longer than its timeoutMs, ${attempts} times. Do less in it (calls of other ` +
        'services belong into steps of their own), or raise timeoutMs.',
      { cause },
    );
  }
}

/** A statement failed, its error was caught, and the transaction could not be committed any more. */
export class TransactionAbortedError extends DbosError {
  readonly code = 'DBOS_TRANSACTION_ABORTED';

  constructor(stepName: string, cause: unknown) {
    super(
      `Transaction "${stepName}" caught the error of a statement and went on: PostgreSQL commits nothing of a ` +
        'transaction after a failed statement. Let the error through, or put the statement into a nested $transaction().',
      { cause },
    );
  }
}

/** The transaction is one of a database that has no workflow tables, or not those of this application. */
export class ForeignTransactionError extends DbosError {
  readonly code = 'DBOS_FOREIGN_TRANSACTION';

  constructor(what: string, cause?: unknown) {
    super(
      `${what}: the transaction belongs to another database than the workflow tables. Use a transaction of the client ` +
        'that DbosModule was given, or list its client in `transactionClients` with `separateDatabase: true`.',
      { cause },
    );
  }
}

/** Something else than the client of an open transaction was given as `tx`. */
export class InvalidTransactionClientError extends TypeError {
  readonly code = 'DBOS_INVALID_TRANSACTION_CLIENT';

  constructor(operation: string) {
    super(
      `${operation}: \`tx\` must be the client of an open transaction, the one that prisma.$transaction(async (tx) => …) ` +
        'hands to its callback, not the Prisma client itself, whose statements are committed one by one.',
    );
    this.name = new.target.name;
  }
}

/**
 * Control flow, seen by no application: a transaction had its connection when the lease of its executor was in doubt, so its
 * body does not begin. It is tried again when the lease is renewed.
 */
export class LeaseInDoubtSignal extends Error {
  constructor() {
    super('The lease of the executor is in doubt.');
  }
}
