/** Workflows with their whole history, as data that another database can take in. */

/** A row of a table, by the names of its columns; times are texts, to the microsecond. */
export type ArchivedRow = Readonly<Record<string, unknown>>;

/** A workflow, and everything that belongs to it. */
export interface ArchivedWorkflow {
  readonly workflow: ArchivedRow;
  readonly steps: readonly ArchivedRow[];
  readonly messages: readonly ArchivedRow[];
  readonly events: readonly ArchivedRow[];
  readonly streams: readonly ArchivedRow[];
  readonly tokens: readonly ArchivedRow[];
  /** What was done to it from outside; archives of earlier versions do not have it. */
  readonly actions?: readonly ArchivedRow[];
}

export interface ImportResult {
  readonly id: string;
  /** `conflict`: its id belongs to another; `taken`: its deduplication id does. Then nothing was written. */
  readonly result: 'imported' | 'present' | 'conflict' | 'taken';
}

export interface ArchiveRepository {
  /** In one snapshot; undefined when there is no such workflow. One more than `atMost` shows that there are more. */
  export(
    workflowId: string,
    options: { readonly children: boolean; readonly atMost: number },
  ): Promise<ArchivedWorkflow[] | undefined>;

  /** All or none. @throws RowRefusedError when a row is none of ours */
  import(workflows: readonly ArchivedWorkflow[]): Promise<ImportResult[]>;
}
