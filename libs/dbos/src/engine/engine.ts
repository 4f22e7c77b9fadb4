/** The engine: put together from its parts, launched, used and shut down. Knows neither Nest nor Prisma. */
import type { ClockAndChance, EngineOptions } from './engine-options.js';
import { resolveEngineOptions } from './engine-options.js';
import { EngineNotRunningError, ExecutorStoppingError, OwnershipLostError, RunCancelledError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { UnfinishedCounts } from '../repository/workflow-repository.js';
import { Branches } from './branches.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import { DatabaseTime } from './database-time.js';
import { DelayedRelease } from './delayed-release.js';
import { Dispatcher } from './dispatcher.js';
import { Executor } from './executor.js';
import { Flow } from './flow.js';
import { WorkflowHandle, type HandleParts } from './handle.js';
import { Lease } from './lease.js';
import { Membership } from './membership.js';
import { OutcomeCodec } from './outcome.js';
import { OutcomeWatch } from './outcome-watch.js';
import { Patience } from './patience.js';
import { RecoveryLog, type RecoveryCounts } from './recovery-log.js';
import { WorkflowRegistry, type WorkflowDefinition, type WorkflowOptions } from './registry.js';
import { RunScopes, type RunScope } from './run-scope.js';
import { Slots } from './slots.js';
import { Sleeper } from './sleep.js';
import { Starter, type StartOptions } from './starter.js';
import { StepRunner } from './step.js';
import { stepReport, type StepReport } from './step-report.js';

/** How long workflow code may take to unwind once its run was interrupted by a shutdown. */
const UNWIND_MS = 500;
const TRY_AGAIN = 'Try again.';

/** How recovery stands here, and what is unfinished in the whole database. */
export interface RecoveryReport extends RecoveryCounts, UnfinishedCounts {
  readonly executorId: string;
}

export class Engine {
  readonly executorId: string;
  readonly registry = new WorkflowRegistry();
  readonly scopes = new RunScopes();
  readonly flow: Flow;
  private readonly options;
  private readonly codec: OutcomeCodec;
  private readonly recoveryLog = new RecoveryLog();
  private readonly slots: Slots;
  private readonly patience: Patience;
  private readonly executor: Executor;
  private readonly starter: Starter;
  private readonly outcomes: OutcomeWatch;
  private readonly dispatcher: Dispatcher;
  private readonly delayed: DelayedRelease;
  private readonly membership: Membership;
  private state: 'new' | 'launching' | 'launched' | 'running' | 'stopping' | 'stopped' = 'new';
  private stopped: Promise<void> | undefined;

  constructor(
    options: EngineOptions,
    private readonly repository: CheckpointRepository,
    outside: ClockAndChance = {},
  ) {
    const resolved = resolveEngineOptions(options, outside);
    this.options = resolved;
    const { executorId, applicationVersion, clock, random, logger, pollIntervalMs } = resolved;
    this.executorId = executorId;
    this.codec = new OutcomeCodec(resolved.serializers);
    const loop = { clock, random, logger };
    const lease = new Lease(clock, resolved.leaseMs);
    const time = new DatabaseTime(clock);
    const { registry, scopes, codec, recoveryLog: recovery } = this;
    const slots = (this.slots = new Slots(resolved.maxConcurrentWorkflows, () => this.dispatcher.slotFreed()));
    const patience = (this.patience = new Patience(clock, resolved.databasePatienceMs));

    this.executor = new Executor({
      id: executorId, repository, registry, codec, scopes, slots, lease, recovery, logger,
      outcomes: () => this.outcomes,
      onStray: () => this.dispatcher.suspectStrays(),
      onParked: () => this.delayed.wake(),
    });
    const executor = this.executor;
    this.outcomes = new OutcomeWatch(
      repository.workflows, (id) => executor.isRunning(id), pollIntervalMs, loop,
    );
    this.starter = new Starter({
      executorId, applicationVersion, repository, executor, codec, slots, patience,
      onEnqueued: () => this.dispatcher.wake(),
    });
    this.dispatcher = new Dispatcher(
      { executorId, repository, registry, executor, slots, recovery, starting: () => this.starter.starting },
      { ...loop, intervalMs: pollIntervalMs },
    );
    this.delayed = new DelayedRelease(
      repository.queues, () => this.dispatcher.wake(), resolved.delayedPollIntervalMs, loop,
    );
    this.membership = new Membership(
      {
        executorId, applicationVersion, repository, lease, time, recovery, clock, logger,
        onExpelled: () => this.interruptAll((id) => new OwnershipLostError(id)),
        onRequeued: () => this.dispatcher.wake(),
      },
      loop,
    );
    this.flow = new Flow(
      scopes,
      new StepRunner(scopes, clock, random),
      new Sleeper(clock, time, resolved.parkAfterMs),
      new Branches(scopes),
    );
  }

  /** @throws RegistrationError, InvalidArgumentError */
  register(name: string, invoke: WorkflowDefinition['invoke'], options?: WorkflowOptions): void {
    this.registry.register(name, invoke, options);
  }

  get isRunning(): boolean {
    return this.state === 'running';
  }

  /**
   * Makes the schema ready, joins the executors and requeues unfinished work. Workflows can be started from then on;
   * none runs before `admit()`.
   * @throws SchemaBehindError, ExecutorIdTakenError, EngineNotRunningError when it was launched before
   */
  async launch(): Promise<void> {
    if (this.state !== 'new') {
      throw new EngineNotRunningError(`The engine cannot be launched: it is ${this.state}. Make a new one.`);
    }
    this.state = 'launching';
    const { repository, recoveryLog, registry, options } = this;
    registry.close();
    recoveryLog.scanning();
    await repository.prepare();
    await this.membership.join();
    const resumed = await repository.workflows.resumeSuspended(registry.names());
    const unfinished = await repository.workflows.countUnfinished(registry.names());
    recoveryLog.requeued(0);
    options.logger.log('Workflow engine launched', {
      executorId: this.executorId,
      workflows: registry.names().length,
      unfinished: unfinished.pending + unfinished.enqueued + unfinished.delayed,
      resumedSuspended: resumed.length,
    });
    this.warnOfStranded(unfinished);
    this.state = 'launched';
    this.starter.open();
    this.membership.start();
  }

  /** Lets workflows run: from the next turn of the event loop on they are claimed. */
  admit(): void {
    if (this.state !== 'launched') return; // shut down before the application had started
    this.state = 'running';
    this.slots.open();
    for (const loop of [this.dispatcher, this.delayed, this.outcomes]) loop.start();
  }

  /** Starts a workflow, as a child when a workflow calls. Resolves once it is durable. */
  async start<R>(name: string, args: readonly unknown[], options: StartOptions = {}): Promise<WorkflowHandle<R>> {
    const definition = this.registry.get(name);
    const scope = this.scopes.outsideSteps('Starting a workflow');
    const id = await (scope
      ? this.startChild(scope, definition, args, options)
      : this.starter.start(definition, args, options));
    return this.handle<R>(id);
  }

  /** Starts a workflow and resolves with its result. In a workflow both ids are taken at once, before any await. */
  async execute<R>(name: string, args: readonly unknown[], options: StartOptions = {}): Promise<R> {
    const scope = this.scopes.outsideSteps('Executing a workflow');
    if (!scope) return (await this.start<R>(name, args, options)).result();
    const definition = this.registry.get(name);
    const [startId, resultId] = [scope.sequence.takeId(), scope.sequence.takeId()];
    const childId = await this.startChild(scope, definition, args, options, startId);
    return this.handle<R>(childId).resultInWorkflow(scope, undefined, resultId);
  }

  /** The child's id derives from the parent's step, so that a replay attaches to the same child. */
  private startChild(
    scope: RunScope,
    definition: WorkflowDefinition,
    args: readonly unknown[],
    options: StartOptions,
    takenId?: string,
  ): Promise<string> {
    const start = async (stepId: string, report: OperationReport): Promise<string> => {
      const workflowId = options.workflowId ?? `${scope.run.id}-${stepId}`;
      report.childWorkflowId = workflowId;
      return this.starter.start(definition, args, { ...options, workflowId }, scope.run.id);
    };
    return checkpoint(scope, { name: definition.name, produce: start }, takenId);
  }

  /** A reference to any workflow, without asking whether it exists. */
  handle<R>(workflowId: string): WorkflowHandle<R> {
    const { repository, outcomes, codec, scopes, options } = this;
    const parts: HandleParts = { workflows: repository.workflows, outcomes, codec, scopes, clock: options.clock, patience: this.patience, isAdmitting: () => this.state === 'running' || this.state === 'stopping' };
    return new WorkflowHandle<R>(assertIdentifier('A workflow id', workflowId), parts);
  }

  /** The recorded steps of a workflow, in order; empty when it has none or does not exist. */
  async steps(workflowId: string): Promise<StepReport[]> {
    const id = assertIdentifier('A workflow id', workflowId);
    const records = await this.patience.with(this.repository.steps.list(id), `Reading the steps of "${id}"`, TRY_AGAIN);
    return records.map((record) => stepReport(record, this.codec));
  }

  /** Ends workflows that have no outcome yet as CANCELLED; returns the ids it changed. */
  async cancel(workflowIds: readonly string[]): Promise<string[]> {
    this.scopes.outsideSteps('Cancelling a workflow');
    workflowIds.forEach((id) => assertIdentifier('A workflow id', id));
    const cancelling = this.repository.workflows.cancel(workflowIds);
    const cancelled = await this.patience.with(cancelling, 'Cancelling workflows', TRY_AGAIN);
    for (const id of cancelled) this.executor.runsOf(id).forEach((run) => run.interrupt(new RunCancelledError(id)));
    cancelled.forEach((id) => this.outcomes.left(id));
    return cancelled;
  }

  /** Sends workflows that neither succeeded nor failed back to the queue with a fresh budget of recoveries. */
  async resume(workflowIds: readonly string[]): Promise<string[]> {
    this.scopes.outsideSteps('Resuming a workflow');
    workflowIds.forEach((id) => assertIdentifier('A workflow id', id));
    const resuming = this.repository.workflows.resume(workflowIds);
    const resumed = await this.patience.with(resuming, 'Resuming workflows', TRY_AGAIN);
    this.dispatcher.wake();
    return resumed;
  }

  async recovery(): Promise<RecoveryReport> {
    const counting = this.repository.workflows.countUnfinished(this.registry.names());
    const unfinished = await this.patience.with(counting, 'Counting unfinished workflows', TRY_AGAIN);
    return { executorId: this.executorId, ...this.recoveryLog.counts(), ...unfinished };
  }

  /**
   * Claims and starts nothing more, lets running workflows go on for `drainMs`, then lets running step bodies end
   * within `graceMs`, aborts what is left, and hands unfinished workflows back. Cancels nothing. Calls share one
   * shutdown.
   * @throws InvalidArgumentError for unusable times; the engine then goes on
   */
  shutdown(times: Partial<{ drainMs: number; graceMs: number }> = {}): Promise<void> {
    const { drainMs, graceMs } = this.options.shutdownTimes(times);
    this.stopped ??= this.stop(drainMs, graceMs);
    return this.stopped;
  }

  private async stop(drainMs: number, graceMs: number): Promise<void> {
    const wasLaunched = this.state === 'launched' || this.state === 'running';
    this.state = 'stopping';
    if (wasLaunched) await this.drain(drainMs, graceMs);
    await this.repository.close();
    this.outcomes.failAll(new EngineNotRunningError('The engine was shut down while waiting for a workflow.'));
    this.state = 'stopped';
  }

  private async drain(drainMs: number, graceMs: number): Promise<void> {
    await Promise.all([this.dispatcher.stop(), this.delayed.stop()]);
    if (drainMs > 0) await this.within(drainMs, this.executor.allEnded());
    this.starter.close();
    this.executor.running.forEach((run) => run.haltBeforeNextStep());
    await this.within(graceMs, this.executor.quiet());
    this.interruptAll((id) => new ExecutorStoppingError(id));
    await this.within(UNWIND_MS, this.executor.allEnded());
    await Promise.all([this.membership.stop(), this.outcomes.stop()]);
    await this.handBack();
  }

  private async handBack(): Promise<void> {
    const { queues } = this.repository;
    const handBack = async (): Promise<void> => {
      while ((await queues.requeue({ executorIds: [this.executorId], countsAsRecovery: false })).length > 0);
      await this.membership.leave();
    };
    // The database may be gone; then the lease runs out by itself.
    await this.within(this.options.databasePatienceMs, handBack());
  }

  private within(ms: number, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.options.clock.schedule(ms, resolve);
      work.then(resolve, resolve).finally(() => timer.cancel());
    });
  }

  private interruptAll(reason: (workflowId: string) => ExecutorStoppingError | OwnershipLostError): void {
    this.executor.running.forEach((run) => run.interrupt(reason(run.id)));
  }

  private warnOfStranded({ unregistered }: UnfinishedCounts): void {
    for (const { name, count } of unregistered) {
      this.options.logger.warn(
        `${count} unfinished workflow${count === 1 ? ' waits' : 's wait'} for an executor that registers "${name}"`,
        { name, count },
      );
    }
  }
}
