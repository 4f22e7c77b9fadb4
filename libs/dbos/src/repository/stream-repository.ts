/** Streams: what workflows append for others to read, by workflow and key, in the order of offsets. */
import type { Owner } from '../core/owner.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { WorkflowStatus } from '../core/status.js';

export interface Append {
  readonly owner: Owner;
  readonly key: string;
  /** None closes the stream. */
  readonly value?: EncodedValue;
  /** The operation or step that appends. */
  readonly stepId: string;
  /** Of an operation of the workflow: its checkpoint is written in the same commit. None for an append of a step. */
  readonly name?: string;
}

/** `offset` where it was appended, or had been by this very operation before. */
export type AppendAnswer = { readonly offset: number } | 'closed' | 'not owned';

export interface StreamPosition {
  readonly workflowId: string;
  readonly key: string;
  readonly fromOffset: number;
}

export interface StreamEntry {
  readonly offset: number;
  /** None where the stream was closed. */
  readonly value: EncodedValue | null;
}

/** What follows a position, as far as it is known and fits. */
export interface StreamPage {
  /** Of the workflow, at the same moment; null when there is no such workflow. */
  readonly status: WorkflowStatus | null;
  readonly entries: readonly StreamEntry[];
}

export interface StreamRepository {
  /**
   * Appends to a stream, in the order of the calls for each workflow. An append with a name that was given up and is sent
   * again is appended once; one of a step may be appended twice.
   */
  append(append: Append): Promise<AppendAnswer>;

  /** A page of bounded size for each position, in order, all in one statement. */
  read(positions: readonly StreamPosition[]): Promise<StreamPage[]>;
}
