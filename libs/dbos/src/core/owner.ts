/** Who may write for a workflow: the fencing token that every write of a run carries. */

export interface Owner {
  readonly workflowId: string;
  readonly executorId: string;
  /** Goes up by one at every claim and never down; a run with an older epoch can write nothing. */
  readonly epoch: number;
}
