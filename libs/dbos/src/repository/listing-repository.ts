/** Finds and counts workflows by what is known of them. */
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { WorkflowStatus } from '../core/status.js';
import type { WorkflowState } from './workflow-repository.js';

/** What is asked for; absent: whatever. Every `…After` is included, every `…Before` is not. */
export interface WorkflowFilter {
  readonly ids?: readonly string[];
  readonly idPrefix?: string;
  readonly idLength?: number;
  readonly statuses: readonly WorkflowStatus[];
  readonly names?: readonly string[];
  readonly queues?: readonly string[];
  readonly onQueue?: boolean;
  /** Ids of executors, or the configured names that they begin with. */
  readonly executorIds?: readonly string[];
  readonly applicationVersions?: readonly string[];
  readonly parentIds?: readonly string[];
  readonly hasParent?: boolean;
  readonly forkedFrom?: readonly string[];
  readonly isFork?: boolean;
  readonly deduplicationId?: string;
  readonly hasError?: boolean;
  /** Contained in those of the workflow. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly createdAfter?: Date;
  readonly createdBefore?: Date;
  readonly startedAfter?: Date;
  readonly startedBefore?: Date;
  readonly completedAfter?: Date;
  readonly completedBefore?: Date;
}

/** One look: a bounded part of the order of arrival. */
export interface Look {
  readonly filter: WorkflowFilter;
  readonly order: 'newest' | 'oldest';
  /** Only what comes after this in the order. */
  readonly after?: string;
}

export interface ListingLook extends Look {
  readonly limit: number;
  /** At how many workflows of each status to look, where no index says which they are. */
  readonly breadth: number;
  readonly loadInput: boolean;
  readonly loadOutput: boolean;
}

/** A workflow in a list, with its place in the order of arrival. */
export interface ListedWorkflow extends WorkflowState {
  readonly seq: string;
  /** Null unless it was asked for. */
  readonly input: EncodedValue | null;
  readonly output: EncodedValue | null;
}

/** What a look has found, and how far it went; undefined: to the end. */
export interface Looked<Found> {
  readonly found: Found[];
  readonly reached: string | undefined;
}

export type Grouping = 'status' | 'name' | 'queue' | 'executorId' | 'applicationVersion';

export interface CountLook extends Omit<Look, 'order'> {
  readonly groupBy: readonly Grouping[];
  /** Width of the buckets of time in which they were created; undefined for one bucket. */
  readonly bucketMs: number | undefined;
}

/** Workflows that are alike in what they are grouped by; null for what they are not. */
export interface WorkflowGroup {
  readonly status: WorkflowStatus | null;
  readonly name: string | null;
  readonly queue: string | null;
  readonly executorId: string | null;
  readonly applicationVersion: string | null;
  readonly bucket: Date | null;
  readonly count: number;
  readonly oldest: Date;
  readonly newest: Date;
  /** Between creation and start; null when none has started. */
  readonly longestWaitMs: number | null;
  /** Between creation and end; null when none has ended. */
  readonly longestMs: number | null;
}

export type StepGrouping = 'step' | 'workflow' | 'outcome';

/** Steps of the workflows that the filter lets through. */
export interface StepCountLook extends Omit<Look, 'order'> {
  /** Undefined: whatever they are named. */
  readonly names: readonly string[] | undefined;
  readonly endedAfter: Date | undefined;
  readonly endedBefore: Date | undefined;
  readonly groupBy: readonly StepGrouping[];
  /** Width of the buckets of time in which they were recorded; undefined for one bucket. */
  readonly bucketMs: number | undefined;
}

/** Steps that are alike in what they are grouped by; null for what they are not. */
export interface StepGroup {
  readonly step: string | null;
  readonly workflow: string | null;
  readonly outcome: 'succeeded' | 'failed' | null;
  readonly bucket: Date | null;
  readonly count: number;
  readonly attempts: number;
  readonly oldest: Date;
  readonly newest: Date;
  readonly totalMs: number;
  readonly longestMs: number;
}

export interface ListingRepository {
  /** A page of workflows, or as much of it as a bounded look finds. */
  list(look: ListingLook): Promise<Looked<ListedWorkflow>>;

  /** Counts the workflows that a bounded look finds, the newest first. */
  count(look: CountLook): Promise<Looked<WorkflowGroup>>;

  /** Counts the steps of workflows that a bounded look finds, those of the newest first. */
  countSteps(look: StepCountLook): Promise<Looked<StepGroup>>;
}
