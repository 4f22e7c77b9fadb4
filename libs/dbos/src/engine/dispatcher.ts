/**
 * Takes waiting workflows from the database as long as there are free slots, and hands them to the executor. The same
 * statement wakes what is due, so that sleepers cost no loop of their own.
 */
import type { Clock } from '../core/clock.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { ClaimAnswer, ClaimedWorkflow } from '../repository/queue-repository.js';
import type { StepRecord } from '../repository/step-repository.js';
import type { DatabaseTime } from './database-time.js';
import type { Executor } from './executor.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { Lease } from './lease.js';
import { Loop, type LoopSettings } from './loop.js';
import type { QueueRegistry } from './queue-registry.js';
import type { Notifier } from '../repository/notifier.js';
import type { RecoveryLog } from './recovery-log.js';
import type { WorkflowRegistry } from './registry.js';
import type { Slots } from './slots.js';

/** Most workflows claimed in one statement: bounds the memory of their inputs and histories. */
const MAX_CLAIM = 100;

/** While notifications come in, one look in so many is enough. */
const POLLS_SPARED = 6;

/** Leases between two reconciliations. */
const RECONCILED_AFTER = 3;

/** A claim is given up after this long, and cannot take anything later however late it comes to the server. */
const CLAIM_VALID_MS = 2_000;
/** For the difference between the database's clock and what is known of it here. */
const CLOCK_MARGIN_MS = 500;

export interface DispatcherParts {
  readonly identity: ExecutorIdentity;
  readonly lease: Lease;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly executor: Executor;
  readonly slots: Slots;
  readonly notifier: Notifier;
  /** Whether workflows run here at all. */
  readonly runsWorkflows: boolean;
  readonly recovery: RecoveryLog;
  /** Ids of workflows that are being started here and may already be owned. */
  readonly starting: () => Iterable<string>;
}

/** What was known when a claim was sent. */
interface SentClaim {
  readonly executorId: string;
  readonly limit: number;
  readonly offers: ReadonlySet<string>;
}

export class Dispatcher extends Loop {
  /** Rows may be ours that nobody runs: a claim failed on the way, or a run broke off. */
  private mayHaveStrays = false;
  /** Only what has run costs its budget of recoveries. */
  private haveRun = false;
  private looking = false;
  /** When a claim without an answer can take nothing any more (monotonic): strays are looked for once more then. */
  private lastClaimExpiresAt: number | undefined;
  private reconcileAt: number;
  /** More may be waiting than there were slots for. */
  private starved = false;
  /** Queues in which more waits than their limits let out. */
  private heldBack: ReadonlySet<string> = new Set();
  /** Queues with limits that processes share: room in them is what the database shows. */
  private shared: ReadonlySet<string> = new Set();
  private paused: ReadonlySet<string> = new Set();
  /** Queues of which code has ended here since the last claim was sent. */
  private readonly left = new Set<string>();
  /** Queues of which something that ended here was written since the last claim was sent; its answer may not know of it. */
  private readonly freed = new Set<string>();
  /** Queues (empty: none) on which something was put here, and which others have not been told of. */
  private offers = new Set<string>();
  /** When something that is delayed is due next, as far as is known here (monotonic). */
  private nextDueAt = Number.POSITIVE_INFINITY;
  private halted = false;

  constructor(
    private readonly parts: DispatcherParts,
    settings: Omit<LoopSettings, 'name'>,
  ) {
    super({ ...settings, name: 'Claiming workflows' });
    this.reconcileAt = parts.clock.monotonic() + parts.lease.durationMs;
  }

  /**
   * While rows of ours that nobody runs are looked for, nothing may become ours: what starts meanwhile is enqueued, or
   * it would be taken for a stray.
   */
  get isLookingForStrays(): boolean {
    return this.looking;
  }

  /**
   * Workflows that this executor owns without running them go back to the queue at the next tick.
   * @param haveRun whether that counts against their budget of recoveries
   */
  suspectStrays({ haveRun }: { readonly haveRun: boolean }): void {
    this.mayHaveStrays = true;
    this.haveRun ||= haveRun;
    this.wake();
  }

  /** Asks for more work only when there may be some: most workflows end without anything waiting behind them. */
  slotFreed(): void {
    if (this.starved) this.wake();
  }

  /**
   * Something waits, on a queue or on none, now or after a delay. Others are told only of what cannot be taken here: they
   * would all come for it.
   */
  offered(queue = '', delayMs = 0): void {
    const takesWork = this.parts.runsWorkflows && !this.halted;
    if (!takesWork) return this.passOn([queue]);
    if (delayMs > 0 && this.hears(queue)) return this.dueWithin(delayMs);
    this.offers.add(queue);
    this.wake();
  }

  /** Something becomes claimable after this long: it is to be looked for then, or told of where there is no slot. */
  dueWithin(ms: number): void {
    this.nextDueAt = Math.min(this.nextDueAt, this.parts.clock.monotonic() + ms);
    this.wakeWithin(ms);
  }

  /** Something may go on that waits, who knows on which queue; it may be for others to take. */
  stirred(): void {
    this.wake();
    this.parts.notifier.notify('work');
  }

  /**
   * A workflow waits on a queue that did not before. Where a limit of this process is in its way the end of what runs here
   * brings the look for it, and others may have room; where the queue is paused, its resumption does.
   */
  enqueued(queue: string, delayMs = 0): void {
    const isKnown = delayMs === 0 && !this.isTicking;
    if (isKnown && this.paused.has(queue)) return;
    if (isKnown && this.heldBack.has(queue) && !this.shared.has(queue)) return this.passOn([queue]);
    this.offered(queue, delayMs);
  }

  /** A queue was paused or resumed, or has other limits: every process looks again. */
  queueChanged(queue: string): void {
    this.wake();
    this.parts.notifier.notify('work', queue);
  }

  /** Code of a queue is over here: another may take its place, as far as this process has the say. */
  queueLeft(queue: string): void {
    this.left.add(queue);
    if (this.heldBack.has(queue) && !this.shared.has(queue)) this.wake();
  }

  /** Something of a queue has ended here, and the database shows it: limits that processes share may let out more. */
  queueFreed(queue: string): void {
    if (this.halted) return this.passOn([queue]);
    this.freed.add(queue);
    if (this.heldBack.has(queue) && this.shared.has(queue)) this.wake();
  }

  /** Whatever only this process knew of, waiting or due later, others are to look for. */
  override halt(): void {
    this.halted = true;
    super.halt();
    this.parts.notifier.notify('work');
  }

  async tick(): Promise<number | void> {
    this.lookAgainAfterExpiry();
    await this.reconcile();
    if (this.mayHaveStrays) await this.requeueStrays();
    if (!this.parts.lease.isValid) return undefined; // who may be dead takes nothing
    const limit = Math.min(this.parts.slots.free, MAX_CLAIM);
    this.starved = limit === 0;
    if (this.starved) return this.leaveToOthers();
    const executorId = this.parts.identity.id;
    const offers = this.takeOffers(); // what is put there while the claim is under way is for the next one
    this.left.clear();
    this.freed.clear();
    this.nextDueAt = Number.POSITIVE_INFINITY;
    const answer = await this.claim(executorId, limit).catch((error: unknown) => {
      for (const queue of offers) this.offers.add(queue);
      throw error;
    });
    if (this.halted) return this.giveBack(answer.claimed);
    return this.goOnFrom(answer, { executorId, limit, offers });
  }

  private async goOnFrom(
    { claimed, againInMs, leftDue, ...queues }: ClaimAnswer,
    { executorId, limit, offers }: SentClaim,
  ): Promise<number | undefined> {
    this.heldBack = new Set(queues.heldBack);
    this.shared = new Set(queues.shared);
    this.paused = new Set(queues.paused);
    this.starved = claimed.length === limit;
    const isTooMuch = (queue: string): boolean =>
      this.starved || this.heldBack.has(queue) || !this.hears(queue);
    this.passOn([...[...offers].filter(isTooMuch), ...leftDue]);
    await this.dispatch(executorId, claimed);
    if (this.starved || queues.heldBack.some((queue) => this.hasMadeRoom(queue))) return 0;
    this.parts.recovery.queueDrained();
    if (againInMs !== null) this.dueWithin(againInMs);
    return this.pauseMs;
  }

  /** Since the last claim was sent. */
  private hasMadeRoom(queue: string): boolean {
    return (this.shared.has(queue) ? this.freed : this.left).has(queue);
  }

  /** There is no slot: whatever waits, or becomes due now, is for others. */
  private leaveToOthers(): number | undefined {
    this.passOn(this.takeOffers());
    const dueInMs = this.nextDueAt - this.parts.clock.monotonic();
    if (dueInMs > 0) {
      this.wakeWithin(dueInMs);
    } else {
      this.nextDueAt = Number.POSITIVE_INFINITY;
      this.parts.notifier.notify('work');
    }
    return this.pauseMs;
  }

  /**
   * The answer came after the halt: nothing begins here any more, and others need not wait for the hand-over. Just these go
   * back: in a look for strays what a running workflow starts meanwhile would be left to others, and it would wait for them.
   */
  private async giveBack(claimed: readonly ClaimedWorkflow[]): Promise<void> {
    const { repository, identity, executor } = this.parts;
    const only = claimed.map(({ id }) => id).filter((id) => !executor.isRunning(id));
    const executorIds = [identity.id];
    if (only.length > 0)
      await repository.queues.requeue({ executorIds, only, countsAsRecovery: false });
    this.parts.notifier.notify('work');
  }

  private takeOffers(): ReadonlySet<string> {
    const { offers } = this;
    this.offers = new Set();
    return offers;
  }

  private passOn(queues: Iterable<string>): void {
    for (const queue of queues) this.parts.notifier.notify('work', queue);
  }

  private hears(queue: string): boolean {
    return queue === '' || this.parts.queues.hears(queue);
  }

  /** Nobody need ask often who is told. */
  private get pauseMs(): number | undefined {
    return this.parts.notifier.isListening
      ? this.spread(this.intervalMs * POLLS_SPARED)
      : undefined;
  }

  /**
   * Once in a few leases, whether suspected or not: what has been ours for a lease and neither runs nor is being started. So no
   * workflow is left behind by a way of losing it that nobody thought of.
   */
  private async reconcile(): Promise<void> {
    const { repository, identity, lease, time, clock } = this.parts;
    if (clock.monotonic() < this.reconcileAt) return;
    this.reconcileAt = clock.monotonic() + lease.durationMs * RECONCILED_AFTER;
    const before = new Date(time.nowMs() - lease.durationMs);
    const executorIds = [identity.id];
    const except = this.knownIds();
    await repository.queues.requeue({ executorIds, except, before, countsAsRecovery: false });
  }

  private knownIds(): string[] {
    return [...this.parts.executor.running.map(({ id }) => id), ...this.parts.starting()];
  }

  private lookAgainAfterExpiry(): void {
    if (this.parts.clock.monotonic() < (this.lastClaimExpiresAt ?? Infinity)) return;
    this.lastClaimExpiresAt = undefined;
    this.mayHaveStrays = true;
  }

  private async claim(executorId: string, limit: number): Promise<ClaimAnswer> {
    const { repository, registry, queues, time, clock } = this.parts;
    try {
      return await repository.queues.claim({
        executorId,
        names: registry.names(),
        queues: queues.listening(),
        limit,
        validForMs: CLAIM_VALID_MS,
        expiresAt: new Date(time.nowMs() + CLAIM_VALID_MS),
      });
    } catch (error) {
      this.mayHaveStrays = true; // its acknowledgement may be all that was lost
      this.lastClaimExpiresAt = clock.monotonic() + CLAIM_VALID_MS + CLOCK_MARGIN_MS;
      throw error;
    }
  }

  private async dispatch(executorId: string, claimed: readonly ClaimedWorkflow[]): Promise<void> {
    // Slots are held from here on, so that starts do not take them while histories are read.
    claimed.forEach(() => this.parts.slots.take());
    const histories = await this.historiesOf(claimed).catch((error: unknown) => {
      claimed.forEach(() => this.parts.slots.give());
      this.mayHaveStrays = true;
      throw error;
    });
    for (const workflow of claimed)
      this.parts.executor.execute({ ...workflow, executorId }, histories.get(workflow.id) ?? []);
  }

  /** One read for all that were claimed before; a first run has no history. */
  private async historiesOf(
    claimed: readonly ClaimedWorkflow[],
  ): Promise<Map<string, StepRecord[]>> {
    const reclaimed = claimed.filter(({ epoch }) => epoch > 1).map(({ id }) => id);
    if (reclaimed.length === 0) return new Map();
    const steps = await this.parts.repository.steps.history(reclaimed);
    const histories = new Map<string, StepRecord[]>();
    for (const step of steps) {
      const history = histories.get(step.workflowId);
      if (history) history.push(step);
      else histories.set(step.workflowId, [step]);
    }
    return histories;
  }

  private async requeueStrays(): Promise<void> {
    const { repository, identity } = this.parts;
    const countsAsRecovery = this.haveRun;
    this.mayHaveStrays = false;
    this.haveRun = false;
    this.looking = true;
    try {
      const before = await repository.executors.databaseNow();
      const except = this.knownIds();
      await repository.queues.requeue({
        executorIds: [identity.id],
        except,
        before,
        countsAsRecovery,
      });
    } catch (error) {
      this.mayHaveStrays = true;
      this.haveRun = countsAsRecovery;
      throw error;
    } finally {
      this.looking = false;
    }
  }
}
