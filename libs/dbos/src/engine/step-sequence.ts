/** The step ids of one line of execution: the run's own, or that of a branch of `all`, `map` or `race`. */

import { setMaxListeners } from 'node:events';

/** The reason with which a branch ends that lost a race; never seen by anyone outside of the branch. */
export class BranchClosedError extends Error {}

export class StepSequence {
  private next = 0;
  private controller: AbortController | undefined;
  private closedBy: unknown;
  private branches: Set<StepSequence> | undefined;

  private constructor(
    /** What the ids of this sequence begin with. */
    readonly prefix: string,
    private readonly parent: StepSequence | undefined,
  ) {}

  static root(): StepSequence {
    return new StepSequence('', undefined);
  }

  /** Taken before any await, so that ids follow the order of calls (DBOS, determinism). */
  takeId(): string {
    const id = `${this.prefix}${this.next}`;
    this.next += 1;
    return id;
  }

  /** The id that is taken next. */
  get upcomingId(): string {
    return `${this.prefix}${this.next}`;
  }

  /** How many ids have been taken. */
  get length(): number {
    return this.next;
  }

  /** The sequence of branch `index` of the operation that has `stepId`. */
  branch(stepId: string, index: number): StepSequence {
    const branch = new StepSequence(`${stepId}.${index}.`, this);
    (this.branches ??= new Set()).add(branch);
    if (this.isClosed) branch.close(this.reason);
    return branch;
  }

  /** Forgets branches that have all ended. */
  dropBranches(branches: readonly StepSequence[]): void {
    for (const branch of branches) this.branches?.delete(branch);
  }

  /** Aborted when the run is interrupted or this branch loses a race. Made only when somebody asks for it. */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      setMaxListeners(0, this.controller.signal); // as many as there are waits side by side
      if (this.isClosed) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  /** Whether anybody would notice that it is closed: a signal was asked for, or branches are open. */
  get isObserved(): boolean {
    return this.controller !== undefined || (this.branches?.size ?? 0) > 0;
  }

  get isClosed(): boolean {
    return this.closedBy !== undefined;
  }

  get reason(): unknown {
    return this.closedBy;
  }

  /** Ends this sequence and all branches below it. */
  close(reason: unknown): void {
    if (this.isClosed) return;
    this.closedBy = reason;
    this.controller?.abort(reason);
    for (const branch of this.branches ?? []) branch.close(reason);
  }

  /** Whether this line of execution lost a race, so that nothing of it may go on. */
  get lostRace(): boolean {
    return this.closedBy instanceof BranchClosedError || (this.parent?.lostRace ?? false);
  }
}
