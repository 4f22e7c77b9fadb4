/** The engine: put together from its parts, launched, used and shut down. Knows neither Nest nor Prisma. */
import { EngineNotRunningError, InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { transactionOf } from '../core/open-transaction.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { UnfinishedCounts } from '../repository/workflow-repository.js';
import { assemble, dutiesOf, type Assembly } from './assembly.js';
import type { ContextCarriers } from './context-carriers.js';
import { Control } from './control.js';
import type { FamilyOptions, ResumeOptions, WorkflowIds } from './control-options.js';
import type { DebounceOptions } from './debouncer.js';
import {
  resolveEngineOptions,
  type ClockAndChance,
  type EngineOptions,
  type ResolvedEngineOptions,
} from './engine-options.js';
import type { Diagnostics } from './diagnostics.js';
import { EngineHealth } from './health.js';
import type { Events } from './events.js';
import type { Flow } from './flow.js';
import { Forks } from './fork.js';
import type { Interceptors } from './interceptors.js';
import type { Messages } from './messages.js';
import { WorkflowHandle, type HandleParts } from './handle.js';
import type { Lifecycle } from './lifecycle.js';
import { Inspection } from './inspection.js';
import { listWorkflows, type ListQuery, type WorkflowPageReport } from './listing.js';
import { operation } from './operation.js';
import type { QueueRegistry } from './queue-registry.js';
import { Queues } from './queues.js';
import type { RecoveryCounts } from './recovery-log.js';
import {
  defineWorkflow,
  type WorkflowDefinition,
  type WorkflowOptions,
  type WorkflowOrigin,
  type WorkflowRegistry,
} from './registry.js';
import type { RunScopes } from './run-scope.js';
import { Schedules } from './schedules.js';
import { Shutdown } from './shutdown.js';
import type { StartOptions } from './starter.js';
import type { Streams } from './streams.js';
import type { Tokens } from './tokens.js';
import type { Transactions } from './transactions.js';
import type { Updates } from './updates.js';
import { checkedStepQuery, stepReport, type StepQuery, type StepReport } from './step-report.js';

/** How recovery stands here, and what is unfinished in the whole database. */
export interface RecoveryReport extends RecoveryCounts, UnfinishedCounts {
  readonly executorId: string;
  /** Null for a process that runs no workflows and is given none. */
  readonly applicationVersion: string | null;
}

export class Engine {
  readonly queues: Queues;
  readonly schedules: Schedules;
  readonly control: Control;
  readonly forks: Forks;
  readonly inspection: Inspection;
  readonly health: EngineHealth;
  private readonly options: ResolvedEngineOptions;
  private readonly parts: Assembly;
  private readonly handleParts: HandleParts;
  private state: 'new' | 'launching' | 'launched' | 'running' | 'stopping' | 'stopped' = 'new';
  private stopped: Promise<void> | undefined;

  constructor(
    options: EngineOptions,
    private readonly repository: CheckpointRepository,
    outside: ClockAndChance = {},
  ) {
    this.options = resolveEngineOptions(options, outside);
    this.parts = assemble(this.options, repository);
    const { common, dispatcher } = this.parts;
    const parts = { ...common, ...this.parts, operation: this.operation.bind(this) };
    this.queues = new Queues(parts);
    this.control = new Control(parts);
    this.forks = new Forks(parts);
    const onEnqueued = (workflowId: string, queue: string | null): void =>
      dispatcher.expected(workflowId, queue ?? undefined);
    this.schedules = new Schedules({ ...common, onEnqueued });
    this.inspection = new Inspection(parts);
    this.health = new EngineHealth({
      ...common,
      health: this.options.health,
      loops: [...dutiesOf(this.parts), this.schedules.scheduler],
      isRunning: () => this.isRunning,
    });
    this.handleParts = {
      ...common,
      workflows: repository.workflows,
      control: this.control,
      forks: this.forks,
      outcomes: this.parts.outcomes,
      streams: this.parts.streams,
      statuses: this.parts.statuses,
      events: this.parts.events,
      updates: this.parts.updates,
      isAdmitting: () => this.state === 'running' || this.state === 'stopping',
    };
  }

  get registry(): WorkflowRegistry {
    return this.parts.common.registry;
  }

  get interceptors(): Interceptors {
    return this.parts.common.interceptors;
  }

  get carriers(): ContextCarriers {
    return this.parts.common.carriers;
  }

  get queueRegistry(): QueueRegistry {
    return this.parts.common.queues;
  }

  get scopes(): RunScopes {
    return this.parts.common.scopes;
  }

  get flow(): Flow {
    return this.parts.flow;
  }

  get streams(): Streams {
    return this.parts.streams;
  }

  get lifecycle(): Lifecycle {
    return this.parts.common.lifecycle;
  }

  get diagnostics(): Diagnostics {
    return this.parts.common.diagnostics;
  }

  get events(): Events {
    return this.parts.events;
  }

  get messages(): Messages {
    return this.parts.messages;
  }

  get tokens(): Tokens {
    return this.parts.tokens;
  }

  get transactions(): Transactions {
    return this.parts.transactions;
  }

  get updates(): Updates {
    return this.parts.updates;
  }

  /**
   * @param origin the method that is the workflow: its place for messages, its source for the version
   * @throws RegistrationError, InvalidArgumentError
   */
  register(
    name: string,
    invoke: WorkflowDefinition['invoke'],
    options: WorkflowOptions = {},
    origin: Partial<WorkflowOrigin> = {},
  ): void {
    this.registry.register(defineWorkflow(name, invoke, options, origin.source), origin.place);
  }

  /** The id under which this process owns workflows now: the configured one with a suffix, or a random one. */
  get executorId(): string {
    return this.options.identity.id;
  }

  /** The version of the application, once it is launched; none for a process that runs no workflows and is given none. */
  get versionInUse(): string | undefined {
    return this.parts.common.version.own;
  }

  /** Whether workflows are claimed and run here: launched, admitted, not shutting down, and not declared dead. */
  get isRunning(): boolean {
    return this.state === 'running' && this.parts.common.lease.isValid;
  }

  /** Whether workflows may run here as long as the lease lasts. */
  get isAdmitted(): boolean {
    return this.state === 'running';
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
    const { repository, registry, options } = this;
    const { common, membership, recoveryLoop, starter } = this.parts;
    registry.close();
    common.version.resolve(registry.all());
    this.queueRegistry.close();
    common.recovery.scanning();
    await repository.prepare();
    await this.declareQueues();
    await this.schedules.launch();
    await membership.join();
    membership.goOn();
    await recoveryLoop.tick();
    const resumed = await repository.workflows.resumeSuspended(
      registry.names(),
      common.version.own,
    );
    const unfinished = await this.parts.stranded.look();
    common.recovery.requeued([]);
    options.logger.log('Workflow engine launched', {
      executorId: this.executorId,
      applicationVersion: common.version.own,
      workflows: registry.names().length,
      unfinished: unfinished.pending + unfinished.enqueued + unfinished.delayed,
      resumedSuspended: resumed.length,
    });
    this.state = 'launched';
    starter.open();
    recoveryLoop.start();
    this.parts.arrivals.start();
    this.parts.deadlines.goOn();
    this.parts.interruptions.start();
  }

  /** Lets workflows run: from the next turn of the event loop on they are claimed. */
  admit(): void {
    if (this.state !== 'launched') return; // shut down before the application had started
    this.state = 'running';
    const { common, outcomes, streams, statuses, dispatcher } = this.parts;
    outcomes.start();
    streams.watch.start();
    statuses.start();
    this.parts.retention?.start();
    this.parts.cleanup?.start();
    if (!this.options.runWorkflows) return;
    common.slots.open();
    dispatcher.start();
    this.schedules.scheduler.start();
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
    const call = { definition: this.registry.newest(name, options.version), args, options };
    const tx = transactionOf('start()', options);
    if (tx) return this.handle<R>(await this.parts.transactional.start(tx, call));
    const scope = this.scopes.outsideSteps('Starting a workflow');
    const id = await (scope
      ? this.parts.starter.startChild(scope, call)
      : this.parts.starter.start(call));
    return this.handle<R>(id);
  }

  /** Starts a workflow and resolves with its result. In a workflow both ids are taken at once, before any await. */
  async execute<R>(name: string, args: readonly unknown[], options: StartOptions = {}): Promise<R> {
    if ('tx' in options) {
      throw new InvalidArgumentError(
        'execute() waits for a result, which cannot come before the transaction is committed. Use start() with tx.',
      );
    }
    const scope = this.scopes.outsideSteps('Executing a workflow');
    if (!scope) return (await this.start<R>(name, args, options)).result();
    const call = { definition: this.registry.newest(name, options.version), args, options };
    const [startId, resultId] = [scope.sequence.takeId(), scope.sequence.takeId()];
    const childId = await this.parts.starter.startChild(scope, call, startId);
    return this.handle<R>(childId).resultInWorkflow(scope, undefined, resultId);
  }

  /** Starts a workflow once calls under a key have ceased for a while; resolves with the handle of what waits. */
  async debounce<R>(
    name: string,
    args: readonly unknown[],
    options: DebounceOptions,
  ): Promise<WorkflowHandle<R>> {
    return this.handle<R>(await this.parts.debouncer.debounce(name, args, options));
  }

  /** A reference to any workflow, without asking whether it exists. */
  handle<R>(workflowId: string): WorkflowHandle<R> {
    return new WorkflowHandle<R>(assertIdentifier('A workflow id', workflowId), this.handleParts);
  }

  /** The recorded steps of a workflow, in order; empty when it has none or does not exist. */
  async steps(workflowId: string, query: StepQuery = {}): Promise<StepReport[]> {
    const id = assertIdentifier('A workflow id', workflowId);
    return this.operation('workflows.steps', async () => {
      const records = await this.repository.steps.list(id, checkedStepQuery(query));
      return records.map((record) => stepReport(record, this.parts.common.codec));
    });
  }

  /** Workflows, a page at a time. @throws InvalidArgumentError */
  async list(query: ListQuery): Promise<WorkflowPageReport> {
    const { codec } = this.parts.common;
    return this.operation('workflows.list', () =>
      listWorkflows(this.repository.listings, codec, query),
    );
  }

  /** Ends workflows that have no outcome yet as CANCELLED; returns the ids it changed. */
  cancel(workflowIds: WorkflowIds, options?: FamilyOptions): Promise<string[]> {
    return this.control.cancel(workflowIds, options);
  }

  /** Sends workflows that neither succeeded nor failed back to the queue with a fresh budget of recoveries. */
  resume(workflowIds: WorkflowIds, options?: ResumeOptions): Promise<string[]> {
    return this.control.resume(workflowIds, options);
  }

  async recovery(): Promise<RecoveryReport> {
    return this.operation('workflows.recovery', async () => {
      const unfinished = await this.repository.workflows.countUnfinished(this.registry.names());
      return {
        executorId: this.executorId,
        applicationVersion: this.parts.common.version.own ?? null,
        ...this.parts.common.recovery.counts(),
        ...unfinished,
      };
    });
  }

  private operation<T>(name: string, work: (stepId?: string) => Promise<T>): Promise<T> {
    return operation(this.parts.common, name, work);
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
    const { repository, parts, options } = this;
    const { outcomes, streams, statuses, arrivals, deadlines, interruptions } = parts;
    deadlines.halt();
    interruptions.halt();
    this.schedules.scheduler.halt();
    parts.retention?.halt();
    parts.cleanup?.halt();
    if (wasLaunched) {
      await new Shutdown({ ...parts, ...parts.common }, options.clock).run({ drainMs, graceMs });
    }
    outcomes.halt();
    streams.watch.halt();
    statuses.halt();
    arrivals.halt();
    await repository.close();
    const shutDown = new EngineNotRunningError(
      'The engine was shut down while waiting for a workflow.',
    );
    outcomes.failAll(shutDown);
    streams.watch.failAll(shutDown);
    statuses.failAll(shutDown);
    arrivals.failAll(shutDown);
    parts.common.lifecycle.close();
    this.state = 'stopped';
  }
}
