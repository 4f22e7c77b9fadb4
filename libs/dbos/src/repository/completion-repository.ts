/** What is kept in databases of the application of transactions that were committed there; only while it may be asked for. */
export interface CompletionRepository {
  /** Whether there is such a database. */
  readonly isNeeded: boolean;

  /** Removes what is kept of workflows that were deleted: another may be started under the same id. */
  forget(workflowIds: readonly string[]): Promise<void>;

  /**
   * Removes a batch of what is older than `olderThanMs` and belongs to workflows that have ended or are gone.
   * @param after where the sweep goes on, as told by the batch before
   * @returns where to go on; undefined at the end
   */
  sweep(batch: CompletionSweep): Promise<CompletionSweep | undefined>;
}

export interface CompletionSweep {
  readonly olderThanMs: number;
  readonly size: number;
  /** Of the databases, in their order, the one that is swept, and how far it is. */
  readonly database: number;
  readonly after: string | undefined;
}
