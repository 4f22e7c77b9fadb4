/** Waits for outcomes: told at once of those of this process, asks the database for the others, all in one query. */
import { deferred, type Deferred } from '../core/deferred.js';
import { WorkflowNotFoundError } from '../core/errors.js';
import type { WorkflowOutcome, WorkflowRepository } from '../repository/workflow-repository.js';
import { Loop, type LoopSettings } from './loop.js';

/** First pause between two questions; grows up to the interval of the loop. */
const FIRST_PAUSE_MS = 10;
const PAUSE_FACTOR = 1.5;
/** Most ids asked for in one statement. */
const MAX_IDS = 1_000;

export class OutcomeWatch extends Loop {
  private readonly waiters = new Map<string, Set<Deferred<WorkflowOutcome>>>();
  private readonly onLeaving = new Set<(workflowId: string) => void>();
  private pauseMs = FIRST_PAUSE_MS;

  constructor(
    private readonly workflows: WorkflowRepository,
    private readonly executor: { isRunning(workflowId: string): boolean },
    private readonly maxPauseMs: number,
    settings: Omit<LoopSettings, 'name' | 'intervalMs'>,
  ) {
    super({ ...settings, name: 'Watching for outcomes', intervalMs: maxPauseMs });
  }

  /**
   * Resolves with the outcome of a workflow; `cancel` gives up waiting for it.
   * The promise rejects with WorkflowNotFoundError when there is no such workflow.
   */
  await(workflowId: string): { outcome: Promise<WorkflowOutcome>; cancel(): void } {
    const waiter = deferred<WorkflowOutcome>();
    const waiters = this.waiters.get(workflowId) ?? new Set();
    this.waiters.set(workflowId, waiters.add(waiter));
    if (!this.executor.isRunning(workflowId)) this.hurry();
    const cancel = (): void => {
      waiters.delete(waiter);
      if (waiters.size === 0 && this.waiters.get(workflowId) === waiters)
        this.waiters.delete(workflowId);
    };
    return { outcome: waiter.promise, cancel };
  }

  /** A workflow of this process has ended. */
  publish(outcome: WorkflowOutcome): void {
    for (const waiter of this.take(outcome.id)) waiter.resolve(outcome);
  }

  /** Calls `told` when a workflow has ended here, has left memory, or must not go on here. */
  whenLeft(told: (workflowId: string) => void): void {
    this.onLeaving.add(told);
  }

  /** A workflow left this process: whoever still waits for it must ask the database. */
  left(workflowId: string): void {
    for (const told of this.onLeaving) told(workflowId);
    if (this.waiters.has(workflowId)) this.hurry();
  }

  /** Ask now, and often for a while. */
  private hurry(): void {
    this.pauseMs = FIRST_PAUSE_MS;
    this.wake();
  }

  async tick(): Promise<number> {
    const ids = this.absent();
    if (ids.length === 0) return this.maxPauseMs;
    const { ended, missing } = await this.workflows.outcomes(ids);
    ended.forEach((outcome) => this.publish(outcome));
    missing.forEach((id) => this.fail(id, new WorkflowNotFoundError(id)));
    const pauseMs = this.pauseMs;
    this.pauseMs = Math.min(this.pauseMs * PAUSE_FACTOR, this.maxPauseMs);
    return pauseMs;
  }

  /** At shutdown: nobody will answer any more. */
  failAll(error: Error): void {
    for (const id of this.waiters.keys()) this.fail(id, error);
  }

  private fail(workflowId: string, error: Error): void {
    for (const waiter of this.take(workflowId)) waiter.reject(error);
  }

  private take(workflowId: string): Iterable<Deferred<WorkflowOutcome>> {
    const waiters = this.waiters.get(workflowId);
    this.waiters.delete(workflowId);
    return waiters ?? [];
  }

  /** Awaited workflows that do not run here. Rotates, so that a page of unfinished ones does not starve the rest. */
  private absent(): string[] {
    const ids: string[] = [];
    for (const id of this.waiters.keys()) {
      if (!this.executor.isRunning(id)) ids.push(id);
      if (ids.length === MAX_IDS) break;
    }
    if (ids.length === MAX_IDS) ids.forEach((id) => this.moveToEnd(id));
    return ids;
  }

  private moveToEnd(id: string): void {
    const waiters = this.waiters.get(id);
    if (!waiters) return;
    this.waiters.delete(id);
    this.waiters.set(id, waiters);
  }
}
