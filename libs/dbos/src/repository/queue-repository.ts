/** How workflows wait and are taken: queues and their limits, claims, returns. */
import type { Owner } from '../core/owner.js';
import type { Placement, QueueLimits } from '../core/queue.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { TimeLimit } from '../core/time-limit.js';
import type { CarriedContext, NewWorkflow } from './workflow-repository.js';

/** A workflow taken by this executor, ready to run. */
export interface ClaimedWorkflow {
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly recoveryAttempts: number;
  /** Runs of it that failed and were tried again. */
  readonly failures: number;
  /** The queue it waited on; null for none. */
  readonly queue: string | null;
  readonly input: EncodedValue;
  /** When it is cancelled unless it has ended; null for never. */
  readonly deadline: Date | null;
  /** What it takes along; null for nothing. */
  readonly context: CarriedContext | null;
}

/** A queue to claim from, and how many of its workflows this executor has at work. */
export interface ListenedQueue {
  readonly queue: string;
  readonly running: number;
}

export interface Claim {
  readonly executorId: string;
  /** Names this executor can run; others are left for executors that can. */
  readonly names: readonly string[];
  /** In order of preference; what is on no queue comes first. */
  readonly queues: readonly ListenedQueue[];
  readonly limit: number;
  /** How long the answer is waited for, and until when (by the database's clock) the claim may take anything. */
  readonly validForMs: number;
  readonly expiresAt: Date;
}

export interface ClaimAnswer {
  readonly claimed: ClaimedWorkflow[];
  /** Milliseconds until something may become claimable by the passing of time; null when nothing is known to. */
  readonly againInMs: number | null;
  /** Queues in which more waits than their limits let out now. */
  readonly heldBack: readonly string[];
  /** Queues with limits that processes share, as far as something waited in them. */
  readonly shared: readonly string[];
  /** Queues of those asked for that are paused. */
  readonly paused: readonly string[];
  /** Queues (empty: none) of what became due with this claim and was not taken by it; nobody else knows of it. */
  readonly leftDue: readonly string[];
}

export interface Requeue {
  readonly executorIds: readonly string[];
  /** Workflows that these executors own and are running; they stay. */
  readonly except?: readonly string[];
  /** No others than these. Default: all. */
  readonly only?: readonly string[];
  /**
   * Only what has been theirs since before this moment, by the database's clock. A sending of the statement that was
   * given up may still come late, and must not take what was started meanwhile.
   */
  readonly before?: Date;
  /** Whether this counts against the budget of recoveries: after a death, not after a hand-over. */
  readonly countsAsRecovery: boolean;
}

/** A queue as it stands in the database. */
export interface QueueRecord {
  readonly name: string;
  readonly limits: QueueLimits;
  readonly paused: boolean;
}

/** How many workflows of a queue are where. */
export interface QueueCounts {
  readonly enqueued: number;
  readonly delayed: number;
  readonly pending: number;
  readonly oldestEnqueuedAt: Date | null;
}

/** What waits on a queue, as far as it was counted. */
export interface QueueBacklog {
  readonly name: string;
  readonly paused: boolean;
  /** Up to the number asked for; in partitions up to that many more. */
  readonly enqueued: number;
  /** How long the one among them has waited that waits longest; null when nothing does. */
  readonly oldestMs: number | null;
}

/** From now on, or until a moment; by the database's clock. */
export type Delay = { readonly delayMs: number } | { readonly runAt: Date };

/** A workflow that is started once the calls under its key have ceased for a while. */
export interface Debounce {
  readonly workflow: NewWorkflow;
  readonly key: string;
  readonly periodMs: number;
  readonly maxWaitMs?: number;
  readonly queue?: string;
}

/** What replaces a workflow that waits. */
export interface Replacement extends Placement, TimeLimit {
  readonly workflowId: string;
  readonly name: string;
  readonly input: EncodedValue;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly context?: CarriedContext;
}

export interface QueueRepository {
  /**
   * Makes what is due claimable, takes up to `limit` waiting workflows, by priority and then order of arrival, and makes
   * this executor their owner at a new epoch. No limit of a queue is ever exceeded, in all processes together.
   * Never retried by itself: when it rejects, the claim may have happened all the same, or may yet until it expires
   * (see `requeue`).
   */
  claim(claim: Claim): Promise<ClaimAnswer>;

  /**
   * Sends workflows that the given executors own back to ENQUEUED, a bounded batch at a time, skipping rows that
   * somebody holds locked. Returns their names and ids; call again until it returns none.
   */
  requeue(requeue: Requeue): Promise<Array<{ id: string; name: string }>>;

  /** Enters queues. Limits that were changed at run time stay, unless the code declares others than it did before. */
  declare(
    queues: ReadonlyArray<{ readonly name: string; readonly limits: QueueLimits }>,
  ): Promise<void>;

  find(name: string): Promise<QueueRecord | undefined>;

  /**
   * Sets all limits of a queue, for all processes; false when there is no such queue. When it resolves, no claim goes by
   * the former limits any more.
   */
  configure(name: string, limits: QueueLimits): Promise<boolean>;

  /**
   * While paused nothing of a queue is claimed; what runs goes on. When it resolves, no claim is under way that does not
   * know of it. False when there is no such queue.
   */
  setPaused(name: string, paused: boolean): Promise<boolean>;

  counts(name: string): Promise<QueueCounts>;

  /** Of each queue the first `atMost` to be claimed; those that do not exist are left out. */
  backlogs(names: readonly string[], atMost: number): Promise<QueueBacklog[]>;

  /** Of workflows that wait; returns the ids it changed. */
  setPriority(workflowIds: readonly string[], priority: number): Promise<string[]>;

  /** Of a workflow that is delayed and has never been claimed; false when there is none. */
  setDelay(workflowId: string, until: Delay): Promise<boolean>;

  /**
   * Puts the workflow of this name and key off, or writes it; resolves with its id. Not retried by itself: when it
   * rejects, it may have happened all the same.
   */
  debounce(debounce: Debounce): Promise<string>;

  /** The same, with the checkpoint of the call in one commit; undefined when the caller no longer owns its workflow. */
  debounceInWorkflow(
    debounce: Debounce,
    step: { readonly owner: Owner; readonly stepId: string; readonly name: string },
  ): Promise<string | undefined>;

  /** Gives a workflow that waits, and has never been claimed, another input and place; false when there is none. */
  replaceWaiting(replacement: Replacement): Promise<boolean>;
}
