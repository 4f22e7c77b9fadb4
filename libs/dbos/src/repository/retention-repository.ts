/** Removes workflows that have ended, with everything that belongs to them. */
import type { TerminalStatus } from '../core/status.js';

/** What of one outcome is removed, and where the walk along the order of arrival goes on. */
export interface RemovalBatch {
  readonly outcome: TerminalStatus;
  /** Removes what ended longer ago, by the database's clock. */
  readonly maxAgeMs: number | undefined;
  /** Removes what arrived before this one. */
  readonly keptFrom: string | undefined;
  /** How far the batch before has reached. */
  readonly after: string | undefined;
  /** Most workflows to look at. */
  readonly size: number;
}

export interface Removal {
  readonly removed: number;
  /** Where to go on; undefined when nothing more is to be removed. */
  readonly reached: string | undefined;
  /** Another process is at it: nothing was done. */
  readonly isBusy: boolean;
}

export interface RetentionRepository {
  /** Removes a batch. What is active, and what an active parent may still ask for, stays. */
  remove(batch: RemovalBatch): Promise<Removal>;

  /** Where the newest `count` of an outcome begin; undefined when there are no more than that. */
  oldestKept(outcome: TerminalStatus, count: number): Promise<string | undefined>;
}
