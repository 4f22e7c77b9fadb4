/** One execution of one workflow on this executor: what it owns, recalls and has recorded, and what interrupts it. */
import {
  CheckpointRefusedError,
  DatabaseUnavailableError,
  ExecutorStoppingError,
  NonDeterminismError,
  OwnershipLostError,
  RowRefusedError,
  UnreadableHistoryError,
  WorkflowEndedError,
  type RunInterruptedError,
} from '../core/errors.js';
import { deferred, type Deferred } from '../core/deferred.js';
import type { Owner } from '../core/owner.js';
import type { NewStep, StepRecord, StepRepository } from '../repository/step-repository.js';
import type { CarriedContext } from '../repository/workflow-repository.js';
import { Activities } from './activities.js';
import type { Diagnostics } from './diagnostics.js';
import type { RunEvent } from './diagnostics-events.js';
import type { History } from './history.js';
import type { Outcome, OutcomeCodec } from './outcome.js';
import { Presence } from './presence.js';
import { BranchClosedError, StepSequence } from './step-sequence.js';

/** What a run needs of the executor that runs it. */
export interface RunHost {
  readonly codec: OutcomeCodec;
  readonly diagnostics: Diagnostics;
  readonly steps: StepRepository;
  /** Resolves while this executor may act for its workflows; waits for its lease when that has run out. */
  confirmLease(): Promise<void> | undefined;
  /** Finds out why the run owns its workflow no more, and interrupts it. */
  explainLoss(run: WorkflowRun): Promise<void>;
  /** The run will bring no outcome of its own; whoever waits for one must ask elsewhere. */
  interrupted(run: WorkflowRun): void;
}

/** Beyond every position, and within an integer of the database. */
const NONE_FAILED = 2_147_483_647;

export class WorkflowRun {
  readonly root = StepSequence.root();
  readonly presence = new Presence();
  readonly activities = new Activities();
  /** Settles when the last record handed over is durable or refused; never rejects. */
  private unconfirmed: Promise<boolean> | undefined;
  private interruptedBy: RunInterruptedError | undefined;
  private halted: Deferred<void> | undefined;
  private hasEnded = false;
  /** Position of the last step of the run's own sequence that failed; none did: beyond all. */
  failedAt = NONE_FAILED;
  /** When the workflow is cancelled unless it has ended; what it starts inherits it. */
  deadline: Date | undefined;
  /** What those who watch were told of this run; undefined while nobody does. */
  diagnosed: RunEvent | undefined;

  constructor(
    private readonly claimed: {
      readonly owner: Owner;
      readonly name: string;
      readonly failures: number;
      readonly context: CarriedContext | null;
    },
    private readonly history: History,
    private readonly host: RunHost,
  ) {}

  get owner(): Owner {
    return this.claimed.owner;
  }

  get name(): string {
    return this.claimed.name;
  }

  /** How often the workflow failed before and was run again. */
  get failures(): number {
    return this.claimed.failures;
  }

  /** What it takes along; what it starts inherits it. */
  get context(): CarriedContext | undefined {
    return this.claimed.context ?? undefined;
  }

  get id(): string {
    return this.owner.workflowId;
  }

  get codec(): OutcomeCodec {
    return this.host.codec;
  }

  get diagnostics(): Diagnostics {
    return this.host.diagnostics;
  }

  get interruption(): RunInterruptedError | undefined {
    return this.interruptedBy;
  }

  enter(): void {
    this.presence.enter();
  }

  leave(): void {
    this.presence.leave();
  }

  /**
   * The recorded outcome of a step, if there is one.
   * @throws NonDeterminismError when something else was recorded there
   * @throws UnreadableHistoryError when it cannot be decoded
   */
  recall<T>(stepId: string, name: string): Outcome<T> | undefined {
    this.assertNotInterrupted();
    const recollection = this.history.recall(stepId, name);
    if (!recollection) return undefined;
    if ('difference' in recollection) {
      throw this.interrupt(new NonDeterminismError(this.id, recollection.difference));
    }
    return this.adopt<T>(recollection.step);
  }

  /** Whether an operation of this name may come at `stepId`: it was recorded there, or nothing was. */
  mayBegin(stepId: string, name: string): boolean {
    return (this.history.nameAt(stepId) ?? name) === name;
  }

  hasRecorded(stepId: string, name: string): boolean {
    return this.history.nameAt(stepId) === name;
  }

  /** An outcome that stands in the database already. @throws UnreadableHistoryError */
  adopt<T>(step: Pick<StepRecord, 'stepId' | 'name' | 'output' | 'error'>): Outcome<T> {
    if (step.error) this.noteFailure(step.stepId);
    try {
      return this.codec.recalled<T>(step);
    } catch (error) {
      throw this.interrupt(new UnreadableHistoryError(this.id, step.stepId, step.name, error));
    }
  }

  /** @throws NonDeterminismError when a step was recorded where the code now opens branches */
  openScope(stepId: string, name: string): void {
    const difference = this.history.recallScope(stepId, name);
    if (difference) throw this.interrupt(new NonDeterminismError(this.id, difference));
  }

  /**
   * @throws NonDeterminismError when a line of execution has ended although its history goes on
   * @param cause what it ended with, when that was an error
   */
  assertHistoryUsed(sequence: StepSequence, cause?: unknown): void {
    if (this.history.isEmpty || this.interruptedBy) return;
    const difference = this.history.leftover(sequence.prefix, sequence.length);
    if (difference) throw this.interrupt(new NonDeterminismError(this.id, difference, cause));
  }

  /**
   * Hands a record to the repository. What is awaited is the barrier before the next effect.
   * @returns whether the record has become durable; never rejects
   */
  record(step: NewStep): Promise<boolean> {
    if (step.error) this.noteFailure(step.stepId);
    const written: Promise<boolean> = this.host.steps.record(this.owner, step).then(
      (owned) => (owned ? this.answered(written, true) : this.lostMeanwhile(written)),
      (error: unknown) => {
        this.interrupt(this.refusal(step, error));
        return this.answered(written, false);
      },
    );
    this.unconfirmed = written;
    return written;
  }

  /** Why it owns its workflow no more, as a statement has just said; it is interrupted by that. */
  async lost(): Promise<RunInterruptedError> {
    await this.host.explainLoss(this);
    return this.interrupt(new OwnershipLostError(this.id)); // the first reason counts
  }

  private noteFailure(stepId: string): void {
    const position = Number.parseInt(stepId, 10);
    this.failedAt = this.failedAt === NONE_FAILED ? position : Math.max(this.failedAt, position);
  }

  private async lostMeanwhile(record: Promise<boolean>): Promise<boolean> {
    await this.host.explainLoss(this);
    return this.answered(record, false);
  }

  private answered(record: Promise<boolean>, isDurable: boolean): boolean {
    if (this.unconfirmed === record) this.unconfirmed = undefined;
    return isDurable;
  }

  /** Only a closed repository means that we stop; what nobody foresaw sends the workflow back to be run again. */
  private refusal(step: NewStep, error: unknown): RunInterruptedError {
    if (error instanceof RowRefusedError)
      return new CheckpointRefusedError(this.id, step.name, error);
    if (error instanceof DatabaseUnavailableError) return new ExecutorStoppingError(this.id);
    return new OwnershipLostError(this.id);
  }

  /**
   * What every new operation awaits, if there is anything to wait for, before it does anything. With an effect to come, everything this run has
   * recorded is durable first: nobody outside can then see a value whose checkpoint could still be lost.
   * @throws RunInterruptedError
   */
  barrier(sequence: StepSequence, hasEffect: boolean): Promise<void> | undefined {
    const mustWait = (hasEffect && this.unconfirmed) || this.presence.parking || this.halted;
    if (mustWait) return this.waitAt(sequence, hasEffect);
    const lease = hasEffect ? this.host.confirmLease() : undefined;
    if (lease) return this.waitAt(sequence, hasEffect);
    this.assertGoing(sequence);
    return undefined;
  }

  /** Whether this executor may act for its workflows at this moment, as far as it knows. */
  get mayAct(): boolean {
    return this.host.confirmLease() === undefined;
  }

  private async waitAt(sequence: StepSequence, hasEffect: boolean): Promise<void> {
    if (hasEffect) {
      while (this.unconfirmed) await this.unconfirmed;
      const lease = this.host.confirmLease();
      if (lease) await lease;
    }
    if (this.presence.parking) await this.presence.parking;
    if (this.halted) await this.halt(this.halted.promise);
    this.assertGoing(sequence);
  }

  private async halt(untilInterrupted: Promise<void>): Promise<void> {
    this.leave();
    await untilInterrupted;
    this.enter();
  }

  /** The executor shuts down: step bodies that are at work may end and be recorded, nothing new begins. */
  haltBeforeNextStep(): void {
    this.halted ??= deferred<void>();
  }

  /** Resolves when every record handed over so far has been answered. */
  async confirmed(): Promise<void> {
    while (this.unconfirmed) await this.unconfirmed;
  }

  /** @throws RunInterruptedError when the run must not go on, BranchClosedError when only this line must not */
  assertGoing(sequence: StepSequence): void {
    this.assertNotInterrupted();
    if (this.isDropped(sequence)) throw new BranchClosedError();
  }

  private assertNotInterrupted(): void {
    if (this.hasEnded) this.interrupt(new WorkflowEndedError(this.id));
    if (this.interruptedBy) throw this.interruptedBy;
  }

  /**
   * The last thing an operation awaits. Where nobody may see how it ended, because its branch lost a race or the
   * run has left memory, it never resolves: the code that waits for it is simply forgotten.
   */
  untilForgotten(sequence: StepSequence): Promise<never> | undefined {
    return this.isDropped(sequence) ? new Promise<never>(() => {}) : undefined;
  }

  private isDropped(sequence: StepSequence): boolean {
    return this.presence.parked || sequence.lostRace;
  }

  /**
   * Its code is over: what that did not await comes too late. An error costs a stack trace, so it is made only where
   * there is somebody to see it.
   */
  end(): void {
    if (this.presence.isAtWork || this.root.isObserved)
      this.interrupt(new WorkflowEndedError(this.id));
    else this.hasEnded = true;
  }

  /** Ends the run from outside of its code: aborts its signals and fails its next operation. The first reason counts. */
  interrupt(reason: RunInterruptedError): RunInterruptedError {
    if (!this.interruptedBy) {
      this.interruptedBy = reason;
      this.root.close(reason);
      this.presence.interrupt();
      this.halted?.resolve();
      this.host.interrupted(this);
    }
    return this.interruptedBy;
  }
}
