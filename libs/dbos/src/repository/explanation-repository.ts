/** What bears on one workflow, as far as the database knows. */
import type { QueueLimits } from '../core/queue.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { WorkflowStatus } from '../core/status.js';

export interface WorkflowFacts {
  /** By the database's clock. */
  readonly now: Date;
  readonly workflow: {
    readonly id: string;
    readonly name: string;
    readonly status: WorkflowStatus;
    readonly executorId: string | null;
    readonly epoch: number;
    readonly recoveryAttempts: number;
    readonly failures: number;
    readonly queue: string | null;
    readonly partitionKey: string | null;
    readonly applicationVersion: string | null;
    readonly error: EncodedValue | null;
    readonly wakeAt: Date | null;
    readonly awaitedTopics: readonly string[];
    /** Put off as long as calls come. */
    readonly isDebounced: boolean;
    readonly createdAt: Date;
    readonly startedAt: Date | null;
    readonly updatedAt: Date;
    readonly completedAt: Date | null;
  };
  /** The executor that the workflow names, if it has a row. */
  readonly owner: OwnerFacts | undefined;
  /** Those that are alive. */
  readonly executors: readonly ExecutorFacts[];
  readonly queue: { readonly paused: boolean; readonly limits: QueueLimits } | undefined;
  /** Of one that waits to be claimed. */
  readonly place: PlaceFacts | undefined;
  readonly lastStep: LastStep | undefined;
}

export interface OwnerFacts {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly heartbeatAt: Date;
  readonly isDead: boolean;
  /** When it is noticed at the latest, should it be dead. */
  readonly recoveryDueAt: Date;
}

export interface ExecutorFacts {
  readonly id: string;
  /** Names and queues that it takes up; null: it does not say. */
  readonly workflows: readonly string[] | null;
  readonly queues: readonly string[] | null;
  /** Versions that it may run; an empty one: what has none. */
  readonly versions: readonly string[] | null;
  /** What it has at work of the workflow's queue. */
  readonly atWork: number | null;
}

export interface PlaceFacts {
  /** How many wait before it, in its partition if it has one. */
  readonly ahead: number;
  readonly atWork: number;
  readonly atWorkInPartition: number;
  /** Limits that are used up. */
  readonly rate: RateFacts | undefined;
  readonly partitionRate: RateFacts | undefined;
}

export interface RateFacts {
  readonly claims: number;
  readonly limit: number;
  readonly periodMs: number;
  readonly until: Date;
}

/** The last step that the workflow has recorded. */
export interface LastStep {
  readonly stepId: string;
  readonly name: string;
  readonly completedAt: Date;
  readonly attempts: number;
  readonly child: { readonly workflowId: string; readonly status: WorkflowStatus } | undefined;
}

export interface ExplanationRepository {
  /** All in one snapshot; undefined when there is no such workflow. */
  facts(workflowId: string): Promise<WorkflowFacts | undefined>;
}
