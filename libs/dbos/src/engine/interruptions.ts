/**
 * Ends runs whose workflows were cancelled or deleted, or go on in a later run: at once where this process did it or is told
 * of it, and by looking now and then for whoever is told nothing. A run that none of this reaches is refused its next checkpoint.
 */
import { WorkflowDeletedError } from '../core/control-errors.js';
import {
  OwnershipLostError,
  RunCancelledError,
  type CancelReason,
  type RunInterruptedError,
} from '../core/errors.js';
import type { EndedWorkflow } from '../repository/control-repository.js';
import type { Notifier } from '../repository/notifier.js';
import type { WorkflowRepository, WorkflowState } from '../repository/workflow-repository.js';
import type { Executor } from './executor.js';
import { Loop, type LoopSettings } from './loop.js';
import type { OutcomeWatch } from './outcome-watch.js';
import type { WorkflowRun } from './workflow-run.js';

/** Most runs that one statement asks for. */
const MAX_RUNS = 1_000;
/** While notifications come in, one look in so many is enough. */
const LOOKS_SPARED = 6;

export interface InterruptionsParts {
  readonly repository: { readonly workflows: WorkflowRepository };
  readonly executor: Executor;
  readonly outcomes: OutcomeWatch;
  readonly notifier: Notifier;
}

export class Interruptions extends Loop {
  /** What ran at the last look: only what runs for longer than a pause is asked for, which most never do. */
  private known: ReadonlySet<WorkflowRun> = new Set();
  /** Ids of workflows to look for at the next tick. */
  private suspects = new Set<string>();
  private lookAt = 0;

  constructor(
    private readonly parts: InterruptionsParts,
    private readonly timing: Omit<LoopSettings, 'name'>,
  ) {
    super({ ...timing, name: 'Looking for cancelled workflows' });
  }

  /** This process has cancelled them. */
  cancelled(workflows: readonly EndedWorkflow[], reason: CancelReason): void {
    this.end(workflows, (id) => new RunCancelledError(id, reason));
  }

  /** This process has deleted them. */
  deleted(workflows: readonly EndedWorkflow[]): void {
    this.end(workflows, (id) => new WorkflowDeletedError(id));
  }

  /** Others tell of workflows that were cancelled or deleted; of any, when they do not say which. */
  told(workflowIds: ReadonlySet<string>): void {
    for (const id of workflowIds) this.parts.outcomes.left(id);
    const { executor } = this.parts;
    const ids = workflowIds.size > 0 ? [...workflowIds] : executor.running.map(({ id }) => id);
    this.suspect(ids.filter((id) => executor.isRunning(id)));
  }

  /** They may have been cancelled. */
  suspect(workflowIds: readonly string[]): void {
    if (workflowIds.length === 0) return;
    for (const id of workflowIds) this.suspects.add(id);
    this.wake();
  }

  async tick(): Promise<number> {
    const now = this.timing.clock.monotonic();
    if (now >= this.lookAt) {
      this.lookAt = now + this.spread(this.intervalMs * (this.isTold ? LOOKS_SPARED : 1));
      this.suspectTheLasting();
    }
    const asked = [...this.suspects].slice(0, MAX_RUNS);
    for (const id of asked) this.suspects.delete(id);
    if (asked.length > 0) await this.look(asked);
    if (this.suspects.size > 0) return 0;
    return Math.max(0, this.lookAt - this.timing.clock.monotonic());
  }

  private get isTold(): boolean {
    return this.parts.notifier.isListening;
  }

  private suspectTheLasting(): void {
    const running = new Set(this.parts.executor.running.filter((run) => !run.interruption));
    for (const run of running) if (this.known.has(run)) this.suspects.add(run.id);
    this.known = running;
  }

  /** Runs are taken before their rows are read: a row that is missing then was deleted, and not merely not yet there. */
  private async look(workflowIds: readonly string[]): Promise<void> {
    const { repository, executor } = this.parts;
    const runs = workflowIds.flatMap((id) => executor.runsOf(id));
    if (runs.length === 0) return;
    const states = await repository.workflows.states([...new Set(runs.map(({ id }) => id))]);
    const standing = new Map(states.map((state) => [state.id, state]));
    for (const run of runs) {
      const reason = whyItIsOver(run, standing.get(run.id));
      if (reason) run.interrupt(reason);
    }
  }

  /** Only runs up to the epoch at which it was done: a later one has been resumed since. */
  private end(
    workflows: readonly EndedWorkflow[],
    reasonOf: (id: string) => RunInterruptedError,
  ): void {
    const { executor, outcomes, notifier } = this.parts;
    for (const { id, epoch } of workflows) {
      for (const run of executor.runsOf(id))
        if (run.owner.epoch <= epoch) run.interrupt(reasonOf(id));
      outcomes.left(id);
      notifier.notify('cancel', id);
    }
  }
}

function whyItIsOver(
  { id, owner }: WorkflowRun,
  state: WorkflowState | undefined,
): RunInterruptedError | undefined {
  if (!state) return new WorkflowDeletedError(id);
  if (state.epoch > owner.epoch) return new OwnershipLostError(id);
  return state.status === 'CANCELLED'
    ? new RunCancelledError(id, state.cancelReason ?? undefined)
    : undefined;
}
