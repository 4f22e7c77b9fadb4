/** Runs workflows, start to settlement; knows what runs here, and is the one place that admits a runner. */
import { cleanContext } from '../core/clean-context.js';
import { WorkflowDeletedError } from '../core/control-errors.js';
import {
  OwnershipLostError,
  CheckpointRefusedError,
  RecoveryAttemptsExceededError,
  RowRefusedError,
  RunCancelledError,
  type RunInterruptedError,
} from '../core/errors.js';
import { ContextRestoreError, SealedArgumentsError } from '../core/extension-errors.js';
import type { Logger } from '../core/logger.js';
import { loggable } from '../core/redaction.js';
import { isForRedeploy } from '../core/redeploy.js';
import { retryDelayMs } from '../core/retry.js';
import { validated } from '../core/schema.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import { isTerminal } from '../core/status.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { ClaimedWorkflow } from '../repository/queue-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { StepRecord } from '../repository/step-repository.js';
import type { ContextCarriers } from './context-carriers.js';
import type { DatabaseTime } from './database-time.js';
import { failed, within, type Diagnostics } from './diagnostics.js';
import { History } from './history.js';
import type { Interceptors } from './interceptors.js';
import type { Lease } from './lease.js';
import type { Lifecycle } from './lifecycle.js';
import type { Outcome, OutcomeCodec } from './outcome.js';
import type { OutcomeWatch } from './outcome-watch.js';
import { Place } from './place.js';
import type { ParkedUntil } from './presence.js';
import type { QueueRegistry } from './queue-registry.js';
import type { RecoveryLog } from './recovery-log.js';
import type { WorkflowDefinition, WorkflowRegistry } from './registry.js';
import type { RunScopes } from './run-scope.js';
import type { Slots } from './slots.js';
import { storedArguments } from './stored-arguments.js';
import { BranchClosedError } from './step-sequence.js';
import { WorkflowRun, type RunHost } from './workflow-run.js';

/** A workflow of which this process is the owner, under one of its ids. */
export type OwnedWorkflow = ClaimedWorkflow & {
  readonly executorId: string;
  /** What came with the call that started it, see `CallEvent.carried`. */
  readonly carried?: Readonly<Record<string, string>> | undefined;
};

/** What the executor works with. */
export interface ExecutorParts {
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly carriers: ContextCarriers;
  readonly interceptors: Interceptors;
  readonly slots: Slots;
  readonly queues: QueueRegistry;
  readonly lease: Lease;
  readonly time: DatabaseTime;
  readonly random: () => number;
  readonly recovery: RecoveryLog;
  readonly lifecycle: Lifecycle;
  readonly diagnostics: Diagnostics;
  readonly logger: Logger;
  readonly outcomes: () => OutcomeWatch;
  /** A run ended although the database may still show it as ours. */
  readonly onStray: () => void;
  /** A workflow with a deadline runs here. */
  readonly onDeadline: (deadline: Date) => void;
  /** A workflow left memory and waits in the database. */
  readonly onParked: (until: ParkedUntil) => void;
}

export class Executor implements RunHost {
  private readonly inCleanContext = cleanContext();
  private readonly runs = new Map<string, Map<number, WorkflowRun>>();
  private readonly endings = new Set<Promise<void>>();
  /** Runs whose code is over and whose outcome is being written. */
  private concluding = 0;

  constructor(private readonly parts: ExecutorParts) {}

  get codec(): OutcomeCodec {
    return this.parts.codec;
  }

  get diagnostics(): Diagnostics {
    return this.parts.diagnostics;
  }

  get steps(): CheckpointRepository['steps'] {
    return this.parts.repository.steps;
  }

  get running(): WorkflowRun[] {
    return [...this.runs.values()].flatMap((epochs) => [...epochs.values()]);
  }

  /** Whether an outcome may come from here: a run that was interrupted brings none, however long its code hangs. */
  isRunning(workflowId: string): boolean {
    return this.runsOf(workflowId).some((run) => !run.interruption);
  }

  interrupted(run: WorkflowRun): void {
    this.parts.outcomes().left(run.id);
  }

  runsOf(workflowId: string): WorkflowRun[] {
    return [...(this.runs.get(workflowId)?.values() ?? [])];
  }

  confirmLease(): Promise<void> | undefined {
    return this.parts.lease.confirm();
  }

  /** Takes over a workflow that this executor owns and for which it has taken a slot. */
  execute(claimed: OwnedWorkflow, checkpoints: readonly StepRecord[]): void {
    const { id: workflowId, executorId, epoch, name, failures, deadline } = claimed;
    const former = this.runs.get(workflowId)?.get(epoch);
    if (former && !(former.interruption instanceof WorkflowDeletedError)) {
      this.parts.slots.give(); // the same claim twice is one run
      return;
    }
    const owner = { workflowId, executorId, epoch };
    const { context } = claimed;
    const run = new WorkflowRun({ owner, name, failures, context }, new History(checkpoints), this);
    this.add(run);
    if (deadline) this.limit(run, deadline);
    const place = new Place(this.parts, claimed.queue);
    // Not in the context of the request that started it: a replay elsewhere has none either.
    const ending = this.inCleanContext(() => this.live(run, claimed, place))
      .catch((error: unknown) => this.abandon(run, claimed, error))
      .finally(() => {
        place.close();
        this.endings.delete(ending);
      });
    this.endings.add(ending);
  }

  /** Claimed after its deadline it does not begin; the sweep that cancels it is on its way. */
  private limit(run: WorkflowRun, deadline: Date): void {
    run.deadline = deadline;
    if (deadline.getTime() <= this.parts.time.nowMs())
      run.interrupt(new RunCancelledError(run.id, 'deadline'));
    this.parts.onDeadline(deadline);
  }

  interruptAll(reason: (workflowId: string) => RunInterruptedError): void {
    for (const run of this.running) run.interrupt(reason(run.id));
  }

  /** Resolves when everything that runs now has ended. */
  async allEnded(): Promise<void> {
    while (this.endings.size > 0) await Promise.all(this.endings);
  }

  /** Resolves when no step body is at work any more and everything recorded is durable. */
  async quiet(): Promise<void> {
    await Promise.all(
      this.running.map(async (run) => {
        await run.presence.whenQuiet();
        await run.confirmed();
      }),
    );
  }

  private async live(run: WorkflowRun, claimed: OwnedWorkflow, place: Place): Promise<void> {
    this.parts.recovery.began(run.id);
    this.parts.lifecycle.began(claimed);
    const end = await new Promise<Settlement | 'parked' | undefined>((resolve, reject) => {
      run.presence.observe({
        idle: () => place.hold(false),
        resumed: () => place.hold(true),
        park: async (until) => (await this.settle(run, parkingOf(until))) !== undefined,
        forget: (until) => {
          run.root.close(new BranchClosedError());
          resolve('parked');
          this.parts.onParked(until);
        },
      });
      this.settlementOf(run, claimed).then(resolve, reject);
    });
    run.presence.interrupt();
    const status = end === 'parked' ? end : await this.concludeBehind(place, run, end);
    this.remove(run);
    this.parts.recovery.ended(run.id, status);
    this.parts.lifecycle.ended(run, status);
    this.parts.diagnostics.runEnded(run.diagnosed, claimed, status);
    if (run.interruption instanceof OwnershipLostError) this.parts.onStray();
    this.parts.outcomes().left(run.id);
    if (end !== 'parked') run.end();
  }

  /** A defect of ours must neither end the process nor leave the workflow behind: it is run again, and counted. */
  private abandon(run: WorkflowRun, claimed: OwnedWorkflow, error: unknown): void {
    this.parts.logger.error(`The run of workflow "${run.id}" broke off`, {
      workflowId: run.id,
      error: loggable(error),
    });
    this.remove(run);
    this.parts.lifecycle.ended(run, 'broken off');
    this.parts.diagnostics.runEnded(run.diagnosed, claimed, 'broken off');
    this.parts.onStray();
  }

  /** Others take its place meanwhile, up to as many as may be at work: a slow database is not to fill the memory. */
  private async concludeBehind(
    place: Place,
    run: WorkflowRun,
    end: Settlement | undefined,
  ): Promise<string> {
    if (this.concluding < this.parts.slots.limit) place.vacate();
    this.concluding += 1;
    try {
      return await this.conclude(run, end);
    } finally {
      this.concluding -= 1;
    }
  }

  /** Writes how the run ended and tells whoever waits; says what became of the workflow. */
  private async conclude(run: WorkflowRun, settlement: Settlement | undefined): Promise<string> {
    const standing = settlement && (await this.settle(run, settlement));
    if (!standing) return run.interruption?.code ?? 'left';
    if ('retryFrom' in standing) this.parts.onParked({ wakeAt: standing.wakeAt, topics: [] });
    if (isTerminal(standing.status)) {
      this.parts.outcomes().publish({
        id: run.id,
        status: standing.status,
        output: 'output' in standing ? standing.output : null,
        error: 'error' in standing ? standing.error : null,
      });
    }
    return standing.status;
  }

  private async settlementOf(
    run: WorkflowRun,
    claimed: OwnedWorkflow,
  ): Promise<Settlement | undefined> {
    const definition = this.parts.registry.get(run.name);
    if (claimed.recoveryAttempts > definition.maxRecoveryAttempts) {
      const error = new RecoveryAttemptsExceededError(run.id, definition.maxRecoveryAttempts);
      this.parts.logger.error(error.message, { workflowId: run.id });
      return { status: 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', error: this.encodeError(error) };
    }
    if (run.interruption) return undefined;
    let outcome: Outcome<unknown>;
    try {
      const result = await this.invoke(run, definition, claimed);
      outcome = this.codec.succeeded(result, `result of ${run.name}`);
    } catch (error) {
      if (error instanceof SealedArgumentsError) run.interrupt(error);
      failed(run.diagnosed, error);
      outcome = this.codec.failed(error);
    }
    if (run.interruption) return this.settlementOfInterrupted(run, run.interruption);
    if (outcome.output) return { status: 'SUCCESS', output: outcome.output };
    const error = outcome.error ?? this.encodeError(undefined);
    return (await this.settlementOfRetried(run, claimed, error)) ?? { status: 'ERROR', error };
  }

  /** A queue may have failed workflows run again: from the last step that failed, for all before it stands. */
  private async settlementOfRetried(
    run: WorkflowRun,
    { queue, failures }: ClaimedWorkflow,
    error: EncodedValue,
  ): Promise<Settlement | undefined> {
    const policy = this.parts.queues.find(queue)?.retry;
    if (!policy || failures >= policy.maxRetries) return undefined;
    await run.confirmed(); // what is to be forgotten must stand before
    const pauseMs = retryDelayMs(policy, failures + 1, this.parts.random());
    const wakeAt = new Date(this.parts.time.nowMs() + pauseMs);
    this.parts.logger.warn(`Workflow "${run.id}" failed and is run again`, {
      workflowId: run.id,
      queue,
      failures: failures + 1,
      retryInMs: Math.round(pauseMs),
    });
    return { status: 'DELAYED', wakeAt, error, retryFrom: run.failedAt };
  }

  /**
   * Outermost what the workflow carries, then what the application puts around it, then its body.
   *
   * Code that ends before its history does is not the code that made it, whether it returns or throws.
   */
  private async invoke(
    run: WorkflowRun,
    { invoke, name, output }: WorkflowDefinition,
    claimed: OwnedWorkflow,
  ): Promise<unknown> {
    const { scopes, carriers, interceptors } = this.parts;
    const args = storedArguments(this.codec.serializers, claimed);
    const scope = { run, sequence: run.root };
    const body = (): unknown => scopes.enter(scope, () => invoke(...args));
    try {
      const result = await carriers.restore(run.id, run.context, () => {
        run.diagnosed = this.parts.diagnostics.runBegan(claimed);
        return within(run.diagnosed, () => interceptors.aroundWorkflow(run, claimed, body));
      });
      run.assertHistoryUsed(run.root);
      return output ? await validated(output, result, `result of ${name}`) : result;
    } catch (error) {
      if (error instanceof ContextRestoreError) throw run.interrupt(error);
      run.assertHistoryUsed(run.root, error);
      throw error;
    }
  }

  /** What an interrupted run still writes, if anything. */
  private settlementOfInterrupted(
    run: WorkflowRun,
    reason: RunInterruptedError,
  ): Settlement | undefined {
    if (isForRedeploy(reason)) {
      this.parts.logger.error(`Workflow "${run.id}" is suspended`, {
        workflowId: run.id,
        error: reason,
      });
      return { status: 'SUSPENDED', error: this.encodeError(reason) };
    }
    if (reason instanceof CheckpointRefusedError)
      return { status: 'ERROR', error: this.encodeError(reason) };
    return undefined;
  }

  /**
   * The settlement that now stands: the given one, or the error that it could not be stored; none when the run no longer
   * owned its workflow. Everything it recorded before left in the same commit or an earlier one.
   */
  private async settle(run: WorkflowRun, settlement: Settlement): Promise<Settlement | undefined> {
    try {
      if (await this.parts.repository.workflows.settle(run.owner, settlement)) return settlement;
      await this.explainLoss(run);
    } catch (error) {
      if (error instanceof RowRefusedError && settlement.status === 'SUCCESS') {
        return this.settle(run, this.settlementOfRefused(run, error));
      }
      this.parts.logger.warn(`Workflow "${run.id}" could not be settled; it goes on elsewhere`, {
        workflowId: run.id,
        error: loggable(error),
      });
      run.interrupt(new OwnershipLostError(run.id));
    }
    return undefined;
  }

  private settlementOfRefused(run: WorkflowRun, error: RowRefusedError): Settlement {
    const { interruption } = run;
    const refused =
      interruption instanceof CheckpointRefusedError
        ? interruption
        : new CheckpointRefusedError(run.id, run.name, error);
    return { status: 'ERROR', error: this.encodeError(refused) };
  }

  async explainLoss(run: WorkflowRun): Promise<void> {
    const unread = { status: 'unknown', cancelReason: null };
    const record = await this.parts.repository.workflows.find(run.id).catch(() => unread);
    if (record?.status === 'CANCELLED') {
      run.interrupt(new RunCancelledError(run.id, record.cancelReason ?? undefined));
      return;
    }
    if (run.interruption) return;
    this.parts.logger.warn(`Workflow "${run.id}" is no longer owned by this run`, {
      workflowId: run.id,
      epoch: run.owner.epoch,
      status: record?.status ?? 'deleted',
    });
    run.interrupt(record ? new OwnershipLostError(run.id) : new WorkflowDeletedError(run.id));
  }

  private encodeError(error: unknown): ReturnType<OutcomeCodec['serializers']['encodeError']> {
    return this.codec.serializers.encodeError(error);
  }

  private add(run: WorkflowRun): void {
    const epochs = this.runs.get(run.id) ?? new Map<number, WorkflowRun>();
    this.runs.set(run.id, epochs.set(run.owner.epoch, run));
  }

  private remove(run: WorkflowRun): void {
    const epochs = this.runs.get(run.id);
    if (epochs?.get(run.owner.epoch) === run) epochs.delete(run.owner.epoch);
    if (epochs?.size === 0) this.runs.delete(run.id);
  }
}

function parkingOf({ wakeAt, topics }: ParkedUntil): Settlement {
  return { status: 'DELAYED', wakeAt, ...(topics.length > 0 && { topics }) };
}
