/** The checkpoints of a workflow. */
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { Owner } from '../core/owner.js';

/** The outcome of one step as it is to be recorded. */
export interface NewStep {
  /** Position in the run: `'3'`, or `'3.0.2'` inside branch 0 of step 3. */
  readonly stepId: string;
  readonly name: string;
  /** Exactly one of `output` and `error` is set. */
  readonly output?: EncodedValue;
  readonly error?: EncodedValue;
  readonly childWorkflowId?: string;
  /** Set in the same commit. */
  readonly event?: NewEvent;
  readonly attempts: number;
  readonly durationMs: number;
}

/** What a workflow lets others know, under a key; it replaces what stood there. */
export interface NewEvent {
  readonly key: string;
  readonly value: EncodedValue;
}

/** A recorded step. */
export interface StepRecord {
  readonly workflowId: string;
  readonly stepId: string;
  readonly name: string;
  readonly epoch: number;
  readonly output: EncodedValue | null;
  readonly error: EncodedValue | null;
  readonly childWorkflowId: string | null;
  readonly attempts: number;
  readonly startedAt: Date;
  readonly completedAt: Date;
}

export interface StepPage {
  readonly limit?: number;
  /** Only what comes after this position. */
  readonly after?: string;
}

export interface StepRepository {
  /**
   * Records one step of the run of `owner`; `false` when it no longer owns the workflow, and then nothing was
   * written. Recording a step again that this same run has recorded is a success: its acknowledgement was lost.
   */
  record(owner: Owner, step: NewStep): Promise<boolean>;

  /** All checkpoints of the given workflows. */
  history(workflowIds: readonly string[]): Promise<StepRecord[]>;

  /** The checkpoints of one workflow in the order of their positions, all or a page of them. */
  list(workflowId: string, page?: StepPage): Promise<StepRecord[]>;
}
