/** Steps whose checkpoint is one commit with what they write in a transaction of the application's own client. */
import type { Owner } from '../core/owner.js';
import type { EncodedValue } from '../core/serialization/serializer.js';

/** The step of a run that a transaction is. */
export interface TransactionStep {
  readonly owner: Owner;
  readonly stepId: string;
  readonly name: string;
  /** How often the workflow failed before and was run again: what an earlier run of it did is not this. */
  readonly failures: number;
}

/** One try of it. */
export interface TransactionAttempt extends TransactionStep {
  readonly attempts: number;
  /** Of the first try, by `performance.now()`. */
  readonly startedAt: number;
}

export interface TransactionSettings {
  /** Default: that of the database, usually READ COMMITTED. */
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable';
  /** How long the transaction may be open. Default: that of the client; Prisma's is 5,000. */
  readonly timeoutMs?: number;
  /** How long to wait for a connection before it is tried again. Default: that of the client; Prisma's is 2,000. */
  readonly maxWaitMs?: number;
  /** PostgreSQL refuses writes; the checkpoint is recorded afterwards. */
  readonly readOnly: boolean;
}

/** What the application does in the transaction, with its client; resolves with what is to be recorded. */
export type TransactionBody = (client: unknown) => Promise<EncodedValue>;

/** An outcome that stands: exactly one of the two is set. */
export interface StandingOutcome {
  readonly output: EncodedValue | null;
  readonly error: EncodedValue | null;
}

/**
 * What stands for the step. It is its checkpoint already, or that is still to be recorded: where the transaction could
 * not hold it.
 */
export type Standing = {
  readonly result: 'standing';
  readonly outcome: StandingOutcome;
  readonly isCheckpoint: boolean;
};

/** The run owns its workflow no more; nothing was written. */
export type Lost = { readonly result: 'lost' };

export type TransactionEnd =
  /** Committed by this try; or another execution was first, whose outcome stands, and this one was rolled back. */
  | Standing
  | Lost
  /** The body threw, or what it wrote was refused; rolled back. */
  | { readonly result: 'failed'; readonly error: unknown }
  /** Rolled back because of other transactions, open longer than allowed, or not begun for want of a connection. */
  | { readonly result: 'conflict' | 'expired' | 'unbegun'; readonly error: unknown }
  /** The database was lost meanwhile; whether it was committed is not known. */
  | { readonly result: 'unknown'; readonly error: unknown };

export interface TransactionRepository {
  /** How long a transaction may be open whose settings do not say it, in milliseconds. */
  readonly timeoutMs: number;

  /** Runs the body in a transaction, once, and commits what it wrote together with the outcome of the step. */
  commit(
    attempt: TransactionAttempt,
    settings: TransactionSettings,
    body: TransactionBody,
  ): Promise<TransactionEnd>;

  /** Records that the step failed, unless another outcome stands. */
  fail(attempt: TransactionAttempt, error: EncodedValue): Promise<Standing | Lost>;

  /** What stands for the step, if anything does. */
  find(step: TransactionStep): Promise<Standing | undefined>;

  /** Outside of workflows: a transaction of the client and no more. Its errors come through as they are. */
  plain<T>(settings: TransactionSettings, body: (client: unknown) => Promise<T>): Promise<T>;
}
