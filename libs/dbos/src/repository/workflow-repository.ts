/** The durable life of a workflow: begun, settled, cancelled, resumed, read. */
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { Owner } from '../core/owner.js';
import type { CancelReason } from '../core/errors.js';
import type { Placement } from '../core/queue.js';
import type { TerminalStatus, WorkflowStatus } from '../core/status.js';
import type { TimeLimit } from '../core/time-limit.js';

/** What a workflow takes along of where it was started, by the names of its carriers; encoded where codecs are used. */
export type CarriedContext = Readonly<Record<string, string | EncodedValue>>;

/**
 * A workflow to be started. With an executor it is PENDING and owned at epoch 1, without one it is ENQUEUED, or DELAYED
 * until its time comes.
 */
export interface NewWorkflow extends Partial<Placement>, TimeLimit {
  readonly id: string;
  readonly name: string;
  readonly input: EncodedValue;
  readonly executorId?: string;
  readonly parentId?: string;
  readonly applicationVersion?: string;
  /** A JSON object to find the workflow by. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly context?: CarriedContext;
  /** What goes from the call to the runs, such as the trace they belong to. */
  readonly carried?: Readonly<Record<string, string>>;
}

/**
 * What stands after a start: the row just written, or the one that was there before under its id, or else under its
 * deduplication id.
 */
export interface StartedWorkflow {
  readonly id: string;
  readonly created: boolean;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly executorId: string | null;
  readonly epoch: number;
}

/** How a run ends: with an outcome, or by leaving the rest to a later run. */
export type Settlement =
  | { readonly status: 'SUCCESS'; readonly output: EncodedValue }
  | {
      readonly status: 'ERROR' | 'SUSPENDED' | 'MAX_RECOVERY_ATTEMPTS_EXCEEDED';
      readonly error: EncodedValue;
    }
  /** Until a moment, or a message on one of the topics; one that is there already sends it back to ENQUEUED at once. */
  | {
      readonly status: 'DELAYED';
      readonly wakeAt: Date | undefined;
      readonly topics?: readonly string[];
    }
  /** Failed, and is to run again: from the first step at this position on. Everything before must be durable. */
  | {
      readonly status: 'DELAYED';
      readonly wakeAt: Date;
      readonly error: EncodedValue;
      readonly retryFrom: number;
    }
  | { readonly status: 'ENQUEUED' };

/** The recorded end of a workflow. */
export interface WorkflowOutcome {
  readonly id: string;
  readonly status: TerminalStatus;
  readonly output: EncodedValue | null;
  readonly error: EncodedValue | null;
  /** Of one that is CANCELLED. */
  readonly cancelReason?: CancelReason | null;
}

/** A workflow as it stands in the database. */
export interface WorkflowRecord {
  readonly id: string;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly executorId: string | null;
  readonly epoch: number;
  readonly recoveryAttempts: number;
  /** Runs that failed and were tried again. */
  readonly failures: number;
  readonly queue: string | null;
  readonly priority: number;
  readonly partitionKey: string | null;
  readonly deduplicationId: string | null;
  readonly parentId: string | null;
  readonly applicationVersion: string | null;
  readonly attributes: Readonly<Record<string, unknown>> | null;
  readonly input: EncodedValue;
  readonly output: EncodedValue | null;
  readonly error: EncodedValue | null;
  readonly wakeAt: Date | null;
  readonly timeoutMs: number | null;
  readonly deadline: Date | null;
  readonly cancelReason: CancelReason | null;
  readonly forkedFrom: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly completedAt: Date | null;
  readonly updatedAt: Date;
}

/** Where a workflow stands, without its payloads. */
export type WorkflowState = Omit<WorkflowRecord, 'input' | 'output'>;

/** Workflows of one name that wait for something this application does not have. */
export interface StrandedWorkflows {
  readonly name: string;
  /** Of the application; null for none. */
  readonly version: string | null;
  readonly count: number;
  readonly reason:
    | 'no workflow of this name is registered here'
    | 'no live executor may run its version'
    | 'the code does not match the history';
}

/** Unfinished workflows, counted by what they wait for; of each kind the oldest 10,000 at most, or as many as were asked for. */
export interface UnfinishedCounts {
  readonly pending: number;
  readonly enqueued: number;
  readonly delayed: number;
  readonly suspended: number;
  readonly deadLettered: number;
  readonly oldestUnfinishedAt: Date | null;
  /** Workflows that cannot go on here. */
  readonly stranded: readonly StrandedWorkflows[];
}

export interface WorkflowRepository {
  /** Writes the workflow unless its id or deduplication id is taken; either way says what now stands there. */
  start(workflow: NewWorkflow): Promise<StartedWorkflow>;

  /** Writes many workflows, all or none, in one statement; says for each what now stands there, in order. */
  startMany(workflows: readonly NewWorkflow[]): Promise<StartedWorkflow[]>;

  /** Ends the run of `owner`; `false` when it no longer owns the workflow, and then nothing was written. */
  settle(owner: Owner, settlement: Settlement): Promise<boolean>;

  find(id: string): Promise<WorkflowRecord | undefined>;

  /** Where the given workflows stand, those that exist, in no order. */
  states(ids: readonly string[]): Promise<WorkflowState[]>;

  /** Of the given workflows, those that have an outcome, and the ids that do not exist. */
  outcomes(ids: readonly string[]): Promise<{ ended: WorkflowOutcome[]; missing: string[] }>;

  /** Sends SUSPENDED workflows of these names back to ENQUEUED; a redeploy may have brought the code they need. */
  resumeSuspended(names: readonly string[], version?: string): Promise<string[]>;

  /** Counts what is unfinished, of each status the oldest `atMost`; `names` are those this application registers. */
  countUnfinished(names: readonly string[], atMost?: number): Promise<UnfinishedCounts>;
}
