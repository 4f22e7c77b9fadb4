/** What is sent to workflows, and received by them: exactly once, in the order in which it was sent. */
import type { Owner } from '../core/owner.js';
import type { EncodedValue } from '../core/serialization/serializer.js';

export interface NewMessage {
  /** Whom it is for. */
  readonly workflowId: string;
  /** Empty for none. */
  readonly topic: string;
  /** Of messages with one key a workflow gets the first. */
  readonly idempotencyKey?: string;
  readonly message: EncodedValue;
  /** Not sent once this token has expired. */
  readonly tokenId?: string;
}

/** The step of a run that does something in the database, of which its checkpoint is part. */
export interface MessageStep {
  readonly owner: Owner;
  readonly stepId: string;
  readonly name: string;
  /** What is recorded as its outcome. */
  readonly output: EncodedValue;
}

/** What became of a message. */
export type Sending =
  | {
      readonly result: 'sent';
      readonly destination: Destination;
      /** False when one with the same key was sent before; then this was not. */
      readonly isNew: boolean;
    }
  /** The token it came with. */
  | { readonly result: 'expired' }
  /** There is no such workflow. */
  | { readonly result: 'unknown' }
  /** The run that sends owns its workflow no more; nothing was written. */
  | { readonly result: 'lost' };

/** The workflow that a message was sent to. */
export interface Destination {
  readonly name: string;
  readonly queue: string | null;
  /** Who runs it now. */
  readonly executorId: string | null;
  /** It was parked, waiting for this, and is now to be claimed. */
  readonly isWoken: boolean;
}

/** A run that receives. */
export interface Receipt {
  readonly owner: Owner;
  readonly stepId: string;
  readonly name: string;
  readonly topic: string;
  /** What is recorded when there is no message; given once the time is up. */
  readonly timeout: EncodedValue | undefined;
  /** The step whose tokens expire with the time. */
  readonly tokenStepId?: string;
  /** What is recorded when there is no message and the time is not up. */
  readonly deadline?: ReceiptDeadline;
}

/** Until when a run waits, as the step before the receiving. */
export interface ReceiptDeadline {
  readonly stepId: string;
  readonly name: string;
  readonly output: EncodedValue;
}

export type Reception =
  /** The outcome that now stands for the step. */
  | { readonly result: 'received'; readonly output: EncodedValue }
  /** There is no message yet. */
  | { readonly result: 'none' }
  | { readonly result: 'lost' };

export interface MessageRepository {
  /** Sends a message; from a run together with its checkpoint. Wakes the workflow if it is parked and waits for this. */
  send(message: NewMessage, step?: MessageStep): Promise<Sending>;

  /**
   * Consumes the oldest message of a topic, or records that none came in time, together with the checkpoint; or records
   * until when the run waits, where that is given.
   */
  receive(receipt: Receipt): Promise<Reception>;
}
