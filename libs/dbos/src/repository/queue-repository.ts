/** How workflows wait and are taken: claims, returns, delayed release. */
import type { EncodedValue } from '../core/serialization/serializer.js';

/** A workflow taken by this executor, ready to run. */
export interface ClaimedWorkflow {
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly recoveryAttempts: number;
  readonly input: EncodedValue;
}

export interface Claim {
  readonly executorId: string;
  /** Names this executor can run; others are left for executors that can. */
  readonly names: readonly string[];
  readonly limit: number;
  /** How long the answer is waited for, and until when (by the database's clock) the claim may take anything. */
  readonly validForMs: number;
  readonly expiresAt: Date;
}

export interface Requeue {
  readonly executorIds: readonly string[];
  /** Workflows that these executors own and are running; they stay. */
  readonly except?: readonly string[];
  /**
   * Only what has been theirs since before this moment, by the database's clock. A sending of the statement that was
   * given up may still come late, and must not take what was started meanwhile.
   */
  readonly before?: Date;
  /** Whether this counts against the budget of recoveries: after a death, not after a hand-over. */
  readonly countsAsRecovery: boolean;
}

export interface DelayedRelease {
  readonly released: number;
  /** Milliseconds until the next delayed workflow is due, by the database's clock; null when there is none. */
  readonly nextDueInMs: number | null;
}

export interface QueueRepository {
  /**
   * Takes up to `limit` waiting workflows, oldest first, and makes this executor their owner at a new epoch.
   * Never retried by itself: when it rejects, the claim may have happened all the same, or may yet until it expires
   * (see `requeue`).
   */
  claim(claim: Claim): Promise<ClaimedWorkflow[]>;

  /**
   * Sends workflows that the given executors own back to ENQUEUED, a bounded batch at a time, skipping rows that
   * somebody holds locked. Returns their names and ids; call again until it returns none.
   */
  requeue(requeue: Requeue): Promise<Array<{ id: string; name: string }>>;

  /** Makes delayed workflows whose time has come claimable. */
  releaseDue(): Promise<DelayedRelease>;
}
