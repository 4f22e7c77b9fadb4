/** The engine: put together from its parts, launched, used and shut down. Knows neither Nest nor Prisma. */
import { EngineNotRunningError, OwnershipLostError, RunCancelledError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { UnfinishedCounts } from '../repository/workflow-repository.js';
import { Branches } from './branches.js';
import { checkpoint } from './checkpoint.js';
import { DatabaseTime } from './database-time.js';
import { Dispatcher } from './dispatcher.js';
import {
  resolveEngineOptions,
  type ClockAndChance,
  type EngineOptions,
  type ResolvedEngineOptions,
} from './engine-options.js';
import { Enqueuer } from './enqueuer.js';
import { Executor } from './executor.js';
import { Flow } from './flow.js';
import { WorkflowHandle, type HandleParts } from './handle.js';
import { Lease } from './lease.js';
import { listWorkflows, type ListQuery, type WorkflowPageReport } from './listing.js';
import { Membership } from './membership.js';
import { OutcomeCodec } from './outcome.js';
import { OutcomeWatch } from './outcome-watch.js';
import { Patience } from './patience.js';
import { QueueRegistry } from './queue-registry.js';
import { Queues, type QueuesParts } from './queues.js';
import { Recovery } from './recovery.js';
import { RecoveryLog, type RecoveryCounts } from './recovery-log.js';
import {
  defineWorkflow,
  WorkflowRegistry,
  type WorkflowDefinition,
  type WorkflowOptions,
} from './registry.js';
import { RunScopes } from './run-scope.js';
import { Shutdown } from './shutdown.js';
import { Slots } from './slots.js';
import { Sleeper } from './sleep.js';
import { Starter, type StartOptions } from './starter.js';
import { stepReport, type StepReport } from './step-report.js';

/** How recovery stands here, and what is unfinished in the whole database. */
export interface RecoveryReport extends RecoveryCounts, UnfinishedCounts {
  readonly executorId: string;
}

export class Engine {
  readonly registry = new WorkflowRegistry();
  readonly scopes = new RunScopes();
  readonly flow: Flow;
  readonly queues: Queues;
  readonly queueRegistry: QueueRegistry;
  private readonly options: ResolvedEngineOptions;
  private readonly codec: OutcomeCodec;
  private readonly recoveryLog = new RecoveryLog();
  private readonly slots: Slots;
  private readonly lease: Lease;
  private readonly patience: Patience;
  private readonly executor: Executor;
  private readonly starter: Starter;
  private readonly outcomes: OutcomeWatch;
  private readonly dispatcher: Dispatcher;
  private readonly membership: Membership;
  private readonly recoveryLoop: Recovery;
  private state: 'new' | 'launching' | 'launched' | 'running' | 'stopping' | 'stopped' = 'new';
  private stopped: Promise<void> | undefined;

  constructor(
    options: EngineOptions,
    private readonly repository: CheckpointRepository,
    outside: ClockAndChance = {},
  ) {
    const resolved = resolveEngineOptions(options, outside);
    const { clock, random, logger, pollIntervalMs } = resolved;
    this.options = resolved;
    this.codec = new OutcomeCodec(resolved.serializers);
    this.patience = new Patience(clock, resolved.databasePatienceMs);
    this.slots = new Slots(resolved.maxConcurrentWorkflows, () => this.dispatcher.slotFreed());
    this.queueRegistry = new QueueRegistry(resolved.listen, (queue) =>
      this.dispatcher.queueFreed(queue),
    );
    const { registry, scopes, codec, slots, patience } = this;
    const { applicationVersion, identity } = resolved;
    const time = new DatabaseTime(clock);
    const lease = (this.lease = new Lease(clock, resolved.leaseMs));
    const loop = { clock, random, logger };
    const polled = { ...loop, intervalMs: pollIntervalMs };
    // What most parts need; each names in its own interface what it takes of it.
    const common = {
      identity,
      applicationVersion,
      repository,
      registry,
      scopes,
      codec,
      slots,
      queues: this.queueRegistry,
      patience,
      lease,
      time,
      clock,
      random,
      logger,
      recovery: this.recoveryLog,
    };
    const executor = (this.executor = new Executor({
      ...common,
      outcomes: () => this.outcomes,
      onStray: () => this.dispatcher.suspectStrays({ haveRun: true }),
      onParked: (wakeAt) =>
        this.dispatcher.wakeWithin(Math.max(0, wakeAt.getTime() - time.nowMs())),
    }));
    const wakeDispatcher = (): void => this.dispatcher.wake();
    this.outcomes = new OutcomeWatch(repository.workflows, executor, pollIntervalMs, loop);
    this.starter = new Starter({
      ...common,
      executor,
      mayOwn: () => lease.isValid && !this.dispatcher.isLookingForStrays,
      onEnqueued: wakeDispatcher,
      onStray: () => this.dispatcher.suspectStrays({ haveRun: false }),
    });
    this.dispatcher = new Dispatcher(
      { ...common, executor, starting: () => this.starter.starting },
      polled,
    );
    this.queues = this.queuesWith(common);
    this.recoveryLoop = new Recovery({ ...common, onRequeued: wakeDispatcher }, polled);
    const onExpelled = (): void => executor.interruptAll((id) => new OwnershipLostError(id));
    const onDead = (ids: readonly string[]): void => this.recoveryLoop.found(ids);
    this.membership = new Membership({ ...common, onExpelled, onDead }, loop);
    this.flow = this.flowWith(time);
  }

  private queuesWith(common: Omit<QueuesParts, 'enqueuer' | 'operation' | 'onLoosened'>): Queues {
    const { repository, starter, patience, dispatcher } = this;
    const enqueuer = new Enqueuer({
      repository,
      starter,
      patience,
      onEnqueued: (_queue, delayMs = 0) => dispatcher.wakeWithin(delayMs),
    });
    const operation = this.operation.bind(this);
    return new Queues({ ...common, enqueuer, operation, onLoosened: () => dispatcher.wake() });
  }

  private flowWith(time: DatabaseTime): Flow {
    const { clock, random, parkAfterMs } = this.options;
    const { scopes } = this;
    const surroundings = { scopes, clock, random, longWaitMs: parkAfterMs };
    const sleeper = new Sleeper(clock, time, parkAfterMs);
    return new Flow(surroundings, sleeper, new Branches(scopes), time);
  }

  /**
   * @param origin the method that is the workflow, for messages
   * @throws RegistrationError, InvalidArgumentError
   */
  register(
    name: string,
    invoke: WorkflowDefinition['invoke'],
    options: WorkflowOptions = {},
    origin?: string,
  ): void {
    this.registry.register(defineWorkflow(name, invoke, options), origin);
  }

  /** The id under which this process owns workflows now: the configured one with a suffix, or a random one. */
  get executorId(): string {
    return this.options.identity.id;
  }

  /** Whether workflows are claimed and run here: launched, admitted, not shutting down, and not declared dead. */
  get isRunning(): boolean {
    return this.state === 'running' && this.lease.isValid;
  }

  /**
   * Makes the schema ready, joins the executors and requeues unfinished work. Workflows can be started from then on;
   * none runs before `admit()`.
   * @throws SchemaBehindError, ExecutorIdTakenError, EngineNotRunningError when it was launched before
   */
  async launch(): Promise<void> {
    if (this.state !== 'new') {
      throw new EngineNotRunningError(
        `The engine cannot be launched: it is ${this.state}. Make a new one.`,
      );
    }
    this.state = 'launching';
    const { repository, recoveryLog, registry, options } = this;
    registry.close();
    this.queueRegistry.close();
    recoveryLog.scanning();
    await repository.prepare();
    await this.declareQueues();
    await this.membership.join();
    this.membership.start();
    await this.recoveryLoop.tick();
    const resumed = await repository.workflows.resumeSuspended(registry.names());
    const unfinished = await repository.workflows.countUnfinished(registry.names());
    recoveryLog.requeued([]);
    options.logger.log('Workflow engine launched', {
      executorId: this.executorId,
      workflows: registry.names().length,
      unfinished: unfinished.pending + unfinished.enqueued + unfinished.delayed,
      resumedSuspended: resumed.length,
    });
    this.warnOfStranded(unfinished);
    this.state = 'launched';
    this.starter.open();
    this.recoveryLoop.start();
  }

  /** Lets workflows run: from the next turn of the event loop on they are claimed. */
  admit(): void {
    if (this.state !== 'launched') return; // shut down before the application had started
    this.state = 'running';
    this.outcomes.start();
    if (!this.options.runWorkflows) return;
    this.slots.open();
    this.dispatcher.start();
  }

  private async declareQueues(): Promise<void> {
    const queues = this.queueRegistry.all();
    if (queues.length > 0) await this.repository.queues.declare(queues);
  }

  /** Starts a workflow, as a child when a workflow calls. Resolves once it is durable. */
  async start<R>(
    name: string,
    args: readonly unknown[],
    options: StartOptions = {},
  ): Promise<WorkflowHandle<R>> {
    const call = { definition: this.registry.get(name), args, options };
    const scope = this.scopes.outsideSteps('Starting a workflow');
    const id = await (scope ? this.starter.startChild(scope, call) : this.starter.start(call));
    return this.handle<R>(id);
  }

  /** Starts a workflow and resolves with its result. In a workflow both ids are taken at once, before any await. */
  async execute<R>(name: string, args: readonly unknown[], options: StartOptions = {}): Promise<R> {
    const scope = this.scopes.outsideSteps('Executing a workflow');
    if (!scope) return (await this.start<R>(name, args, options)).result();
    const call = { definition: this.registry.get(name), args, options };
    const [startId, resultId] = [scope.sequence.takeId(), scope.sequence.takeId()];
    const childId = await this.starter.startChild(scope, call, startId);
    return this.handle<R>(childId).resultInWorkflow(scope, undefined, resultId);
  }

  /** A reference to any workflow, without asking whether it exists. */
  handle<R>(workflowId: string): WorkflowHandle<R> {
    const { repository, outcomes, codec, scopes, options } = this;
    const parts: HandleParts = {
      workflows: repository.workflows,
      outcomes,
      codec,
      scopes,
      clock: options.clock,
      patience: this.patience,
      isAdmitting: () => this.state === 'running' || this.state === 'stopping',
    };
    return new WorkflowHandle<R>(assertIdentifier('A workflow id', workflowId), parts);
  }

  /** The recorded steps of a workflow, in order; empty when it has none or does not exist. */
  async steps(workflowId: string): Promise<StepReport[]> {
    const id = assertIdentifier('A workflow id', workflowId);
    return this.operation('workflows.steps', async () => {
      const records = await this.repository.steps.list(id);
      return records.map((record) => stepReport(record, this.codec));
    });
  }

  /** Workflows, the newest first. @throws InvalidArgumentError */
  async list(query: ListQuery): Promise<WorkflowPageReport> {
    const { repository, codec } = this;
    return this.operation('workflows.list', () =>
      listWorkflows(repository.workflows, codec, query),
    );
  }

  /** Ends workflows that have no outcome yet as CANCELLED; returns the ids it changed. */
  async cancel(workflowIds: readonly string[]): Promise<string[]> {
    this.scopes.outsideSteps('Cancelling a workflow');
    workflowIds.forEach((id) => assertIdentifier('A workflow id', id));
    return this.operation('workflows.cancel', async () => {
      const cancelled = await this.repository.workflows.cancel(workflowIds);
      for (const id of cancelled) {
        this.executor.runsOf(id).forEach((run) => run.interrupt(new RunCancelledError(id)));
        this.outcomes.left(id);
      }
      return cancelled;
    });
  }

  /** Sends workflows that neither succeeded nor failed back to the queue with a fresh budget of recoveries. */
  async resume(workflowIds: readonly string[]): Promise<string[]> {
    this.scopes.outsideSteps('Resuming a workflow');
    workflowIds.forEach((id) => assertIdentifier('A workflow id', id));
    return this.operation('workflows.resume', async () => {
      const resumed = await this.repository.workflows.resume(workflowIds);
      this.dispatcher.wake();
      return resumed;
    });
  }

  async recovery(): Promise<RecoveryReport> {
    return this.operation('workflows.recovery', async () => {
      const unfinished = await this.repository.workflows.countUnfinished(this.registry.names());
      return { executorId: this.executorId, ...this.recoveryLog.counts(), ...unfinished };
    });
  }

  /** In a workflow a checkpointed operation, so that a replay sees the same; elsewhere as patient as callers are. */
  private operation<T>(name: string, work: () => Promise<T>): Promise<T> {
    const scope = this.scopes.current;
    if (scope && !scope.step) return checkpoint(scope, { name, produce: work });
    return this.patience.with(work(), name, 'Try again.');
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
    const { repository, starter, executor, dispatcher, outcomes } = this;
    const { membership, recoveryLoop, options } = this;
    const { identity } = options;
    if (wasLaunched) {
      const parts = {
        identity,
        repository,
        starter,
        executor,
        dispatcher,
        membership,
        recoveryLoop,
      };
      await new Shutdown(parts, options.clock).run({ drainMs, graceMs });
    }
    outcomes.halt();
    await repository.close();
    outcomes.failAll(
      new EngineNotRunningError('The engine was shut down while waiting for a workflow.'),
    );
    this.state = 'stopped';
  }

  private warnOfStranded({ stranded }: UnfinishedCounts): void {
    for (const { name, count, reason } of stranded) {
      this.options.logger.warn(`${count} unfinished "${name}" cannot go on here: ${reason}`, {
        name,
        count,
        reason,
      });
    }
  }
}
