/** What controllers and other providers use: start workflows, wait for them, look at them, manage them. */
import { Injectable, type Type } from '@nestjs/common';
import { Observable } from 'rxjs';
import type { EventKey, Topic } from '../core/schema.js';
import type { TransactionalOptions } from '../core/open-transaction.js';
import type { EnqueueOptions } from '../core/queue.js';
import type {
  ExportOptions,
  ImportOptions,
  ImportReport,
  WorkflowArchive,
} from '../engine/archive.js';
import type { CountQuery, WorkflowCounts } from '../engine/counting.js';
import type { StepCountQuery, StepCounts } from '../engine/step-counting.js';
import type {
  ActionOptions,
  FamilyOptions,
  ForkOptions,
  ForkReport,
  RestartOptions,
  ResumeOptions,
  WorkflowIds,
} from '../engine/control-options.js';
import type { DebounceOptions } from '../engine/debouncer.js';
import { Engine, type RecoveryReport } from '../engine/engine.js';
import type { WorkflowExplanation } from '../engine/explanation.js';
import type { GetEventOptions } from '../engine/events.js';
import type { WorkflowHandle } from '../engine/handle.js';
import type { WorkflowEvent } from '../engine/lifecycle.js';
import type { LiveValues } from '../engine/live-values.js';
import type { SendOptions } from '../engine/messages.js';
import type { ListQuery, WorkflowPageReport } from '../engine/listing.js';
import type { RemovedCounts, RetentionReport } from '../engine/retention.js';
import type { StartOptions } from '../engine/starter.js';
import type { StepQuery, StepReport } from '../engine/step-report.js';
import type { ReadStreamOptions } from '../engine/streams.js';
import type {
  ActionRecord as WorkflowAction,
  VersionFilter,
} from '../repository/control-repository.js';
import { WorkflowBinder } from './workflow-binder.js';
import { methodsOf, type Executing, type Starting } from './workflow-methods.js';

@Injectable()
export class WorkflowService {
  /**
   * What becomes of workflows in this process, as it happens: for logs, metrics and the like. It begins with the
   * subscription and replays nothing; what is not watched costs nothing. Completes when the application is shut down.
   *
   * @example
   * ```ts
   * this.workflows.events$.pipe(filter(({ type }) => type === 'failed')).subscribe((event) => this.alarm(event));
   * ```
   */
  readonly events$: Observable<WorkflowEvent>;

  constructor(
    private readonly engine: Engine,
    private readonly binder: WorkflowBinder,
  ) {
    this.events$ = new Observable((subscriber) => engine.lifecycle.subscribe(subscriber));
  }

  /**
   * Starts a workflow; the promise resolves once it is durable. Inside a workflow it becomes a child. With `tx` it is part
   * of a transaction of the application: started if that is committed, and gone without a trace if it is rolled back. Do
   * not wait for its result in there.
   *
   * @example
   * ```ts
   * const handle = await this.workflows.start(CheckoutWorkflow, { workflowId: order.id }).run(order);
   *
   * await this.prisma.$transaction(async (tx) => {
   *   await tx.order.create({ data: order });
   *   await this.workflows.start(CheckoutWorkflow, { tx, workflowId: order.id }).run(order);
   * });
   * ```
   * @throws InvalidTransactionClientError, ForeignTransactionError for a `tx` that is none, or of another database
   * @throws WorkflowNotRegisteredError, WorkflowIdConflictError, InvalidArgumentError, UnserializableValueError,
   *   EngineNotRunningError, DatabaseUnavailableError, ForbiddenInStepError
   */
  start<T extends object>(type: Type<T>, options: StartOptions = {}): Starting<T> {
    return methodsOf(this.binder, type, (name, args) =>
      this.engine.start(name, args, options),
    ) as Starting<T>;
  }

  /** Starts a workflow and resolves with its result, or rejects with its error. */
  execute<T extends object>(type: Type<T>, options: Omit<StartOptions, 'tx'> = {}): Executing<T> {
    return methodsOf(this.binder, type, (name, args) =>
      this.engine.execute(name, args, options),
    ) as Executing<T>;
  }

  /**
   * Puts a workflow on a queue; resolves with its handle once it is durable. The same as `queue.enqueue()`, for a queue
   * that is known by its name only.
   * @throws UnknownQueueError when this application does not register the queue, and what `Queue.enqueue` throws
   */
  enqueue<T extends object>(
    type: Type<T>,
    { queue, ...options }: EnqueueOptions & { readonly queue: string },
  ): Starting<T> {
    return methodsOf(this.binder, type, async (name, args) =>
      this.engine.handle(await this.engine.queues.enqueue(queue, name, args, options)),
    ) as Starting<T>;
  }

  /**
   * Starts a workflow once the calls under a key have ceased for `periodMs`, with the input of the last of them; at the
   * latest `maxWaitMs` after the first. Once it has started, the next call begins anew. Resolves with the handle of the
   * one that is being put off.
   *
   * @example
   * ```ts
   * await this.workflows.debounce(ReindexWorkflow, { key: product.id, periodMs: 5_000, maxWaitMs: 60_000 }).run(product);
   * ```
   * @throws InvalidArgumentError, UnserializableValueError, EngineNotRunningError, ForbiddenInStepError
   * @throws DatabaseUnavailableError when it is not known whether the call counted; call again
   */
  debounce<T extends object>(type: Type<T>, options: DebounceOptions): Starting<T> {
    return methodsOf(this.binder, type, (name, args) =>
      this.engine.debounce(name, args, options),
    ) as Starting<T>;
  }

  /**
   * Sends a message to a workflow, which receives it with `flow.recv()`: in the order in which they were sent, each once.
   * Resolves once it is durable, whether the workflow runs or not. Sent from a workflow it is sent once, whatever dies;
   * elsewhere give an `idempotencyKey` to send one again safely.
   *
   * @example
   * ```ts
   * await this.workflows.send(orderId, { by: 'Ada' }, { topic: 'approval' });
   * ```
   * @throws WorkflowNotFoundError, InvalidArgumentError, ValidationError, UnserializableValueError,
   *   ForbiddenInStepError, DatabaseUnavailableError
   */
  send<In>(
    workflowId: string,
    message: NoInfer<In>,
    options: SendOptions & { readonly topic: Topic<In, unknown> },
  ): Promise<void>;
  send(
    workflowId: string,
    message: unknown,
    options?: SendOptions & { readonly topic?: string },
  ): Promise<void>;
  send(workflowId: string, message: unknown, options: SendOptions = {}): Promise<void> {
    return this.engine.messages.send(workflowId, message, options);
  }

  /**
   * What a workflow last set under the key with `flow.setEvent()`; waits for it if it has not been set, a minute by
   * default. In a workflow the value is recorded: a replay sees the same.
   * @returns undefined when it was not set in time, or the workflow ended without setting it
   */
  getEvent<T>(
    workflowId: string,
    key: string | EventKey<unknown, T>,
    options: GetEventOptions = {},
  ): Promise<T | undefined> {
    return this.engine.events.get<T>(workflowId, key, options);
  }

  /**
   * Decides what a workflow waits for that has given out this token. The first decision counts.
   * @returns whether it was this one
   * @throws TokenNotFoundError, TokenExpiredError, UnserializableValueError, DatabaseUnavailableError
   */
  resolveToken(token: string, value?: unknown, options?: TransactionalOptions): Promise<boolean> {
    return this.engine.tokens.decide('workflows.resolveToken', token, { value }, options);
  }

  /** As `resolveToken`, with a no: the workflow gets a TokenRejectedError. */
  rejectToken(token: string, reason?: string, options?: TransactionalOptions): Promise<boolean> {
    return this.engine.tokens.decide('workflows.rejectToken', token, { reason }, options);
  }

  /**
   * Workflows, the newest first, a page at a time: all, or those that have everything that is asked for.
   *
   * @example
   * ```ts
   * const { workflows, next } = await this.workflows.list({ status: 'ERROR', attributes: { customer: 7 }, limit: 20 });
   * ```
   * @throws InvalidArgumentError
   */
  list(query: ListQuery = {}): Promise<WorkflowPageReport> {
    return this.engine.list(query);
  }

  /**
   * How many workflows there are, by status, name, queue, executor, version or time of creation, and how long they have
   * waited and taken at most.
   *
   * @example
   * ```ts
   * const { groups } = await this.workflows.count({ groupBy: ['name', 'status'], createdAfter: yesterday, bucket: '1h' });
   * ```
   * @throws InvalidArgumentError
   */
  count(query: CountQuery = {}): Promise<WorkflowCounts> {
    return this.engine.inspection.count(query);
  }

  /**
   * How many steps there are, and how long they took: by default for each name of a step.
   *
   * @example
   * ```ts
   * const { groups } = await this.workflows.stepCounts({ name: 'CheckoutWorkflow.run', createdAfter: yesterday });
   * ```
   * @throws InvalidArgumentError
   */
  stepCounts(query: StepCountQuery = {}): Promise<StepCounts> {
    return this.engine.inspection.stepCounts(query);
  }

  /** A reference to a workflow that any process may have started. @throws InvalidArgumentError */
  handle<R = unknown>(workflowId: string): WorkflowHandle<R> {
    return this.engine.handle<R>(workflowId);
  }

  /**
   * The values of a stream, from the first or from an offset on: those that are there, then those to come, until the
   * stream is closed or its workflow has ended. An async iterable and an `Observable`. In a workflow each value that is
   * taken is a checkpointed operation.
   *
   * @example
   * ```ts
   * \@Sse(':id/progress')
   * progress(\@Param('id') id: string): Observable<MessageEvent> {
   *   return this.workflows.readStream<Progress>(id, 'progress').pipe(map((data) => ({ data })));
   * }
   * ```
   * @throws InvalidArgumentError at once; WorkflowNotFoundError, EngineNotRunningError to whoever reads
   */
  readStream<T>(workflowId: string, key: string, options?: ReadStreamOptions): LiveValues<T> {
    return this.engine.streams.read<T>(workflowId, key, options);
  }

  /** The recorded steps of a workflow, in order; none when there is no such workflow. @throws InvalidArgumentError */
  steps(workflowId: string, query: StepQuery = {}): Promise<StepReport[]> {
    return this.engine.steps(workflowId, query);
  }

  /**
   * Why a workflow is not progressing, or that it is: as data, to switch over, and in one sentence.
   *
   * @example
   * ```ts
   * const { reason, sentence } = await this.workflows.explain(orderId);
   * // Workflow "order-7" (CheckoutWorkflow.run) waits for a message on topic "approval" until 2026-03-01T12:00:00.000Z.
   * if (reason.kind === 'waiting-for-message') remind(reason.messages, reason.until);
   * ```
   * @throws WorkflowNotFoundError
   */
  explain(workflowId: string): Promise<WorkflowExplanation> {
    return this.engine.inspection.explain(workflowId);
  }

  /**
   * Cancels workflows that have no outcome yet; returns the ids it changed. Steps that are running have their signals
   * aborted at once, and nothing more of them is recorded.
   *
   * @example
   * ```ts
   * await this.workflows.cancel(order.id, { children: true, by: user.id });
   * ```
   * @throws InvalidArgumentError, ForbiddenInStepError, DatabaseUnavailableError
   */
  cancel(workflowIds: WorkflowIds, options?: FamilyOptions): Promise<string[]> {
    return this.engine.cancel(workflowIds, options);
  }

  /**
   * Lets cancelled, set aside, suspended or delayed workflows go on now, from their last completed steps; returns the ids
   * it changed. A timeout begins anew for those that had ended.
   * @throws InvalidArgumentError, UnknownQueueError, ForbiddenInStepError, DatabaseUnavailableError
   */
  resume(workflowIds: WorkflowIds, options?: ResumeOptions): Promise<string[]> {
    return this.engine.resume(workflowIds, options);
  }

  /**
   * Moves workflows to another version of the application, when nobody alive runs their own any more: those with the
   * given ids, or all that is unfinished (or set aside) of a version. What runs now or has an outcome is left alone. Their
   * code must match their history, else they are suspended with the difference. Returns the ids it moved.
   *
   * @example
   * ```ts
   * await this.workflows.setVersion({ applicationVersion: 'v1' }, 'v2', { by: user.id });
   * ```
   * @throws InvalidArgumentError, ForbiddenInStepError, DatabaseUnavailableError
   */
  setVersion(
    target: WorkflowIds | VersionFilter,
    version: string,
    options?: ActionOptions,
  ): Promise<string[]> {
    return this.engine.control.setVersion(target, version, options);
  }

  /**
   * Begins a new workflow where this one stood at a step: what lies before it is copied, with events and streams as of
   * then, and the rest is done anew. Whatever became of the old one stays.
   *
   * @example
   * ```ts
   * const again = await this.workflows.fork(order.id, { from: 'failure' });
   * ```
   * @throws WorkflowNotFoundError, StepNotFoundError, WorkflowIdConflictError, InvalidArgumentError, UnknownQueueError,
   *   ForbiddenInStepError, DatabaseUnavailableError
   */
  async fork<R = unknown>(workflowId: string, options: ForkOptions): Promise<WorkflowHandle<R>> {
    return this.engine.handle<R>(await this.engine.forks.fork(workflowId, options));
  }

  /** Forks many in one statement; tells of those that there were and that have the step. */
  forkMany(
    workflowIds: readonly string[],
    options: Omit<ForkOptions, 'workflowId'>,
  ): Promise<ForkReport[]> {
    return this.engine.forks.forkMany(workflowIds, options);
  }

  /** Begins a new workflow with the input of this one. */
  async restart<R = unknown>(
    workflowId: string,
    options: RestartOptions = {},
  ): Promise<WorkflowHandle<R>> {
    return this.engine.handle<R>(await this.engine.forks.restart(workflowId, options));
  }

  /**
   * Removes workflows, whatever becomes of them, with their steps, messages, events and streams; returns the ids of those
   * that there were. Cancel first what may be running.
   */
  delete(workflowIds: WorkflowIds, options?: FamilyOptions): Promise<string[]> {
    return this.engine.control.delete(workflowIds, options);
  }

  /** What was done to a workflow from outside, by whom, in order (the last 1,000); also after it was deleted. */
  actions(workflowId: string): Promise<WorkflowAction[]> {
    return this.engine.control.actions(workflowId);
  }

  /**
   * A workflow with its whole history, and with its descendants where they are wanted, as JSON.
   *
   * @example
   * ```ts
   * await writeFile(`${id}.json`, JSON.stringify(await this.workflows.export(id, { children: true })));
   * ```
   * @throws WorkflowNotFoundError; InvalidArgumentError when there are more than 1,000 of them
   */
  export(workflowId: string, options: ExportOptions = {}): Promise<WorkflowArchive> {
    return this.engine.inspection.export(workflowId, options);
  }

  /**
   * Takes exported workflows in, all or none; those that are here already are left as they are. Workflows that have not
   * ended are refused unless `unfinished` says that they go on here.
   * @throws ArchiveFormatError, ArchiveVersionError, ArchiveConflictError, ArchiveUnfinishedError; nothing was written
   */
  import(archive: WorkflowArchive, options: ImportOptions = {}): Promise<ImportReport> {
    return this.engine.inspection.import(archive, options);
  }

  /** What retention has removed in this process; undefined when none is configured. */
  retention(): RetentionReport | undefined {
    return this.engine.inspection.retention;
  }

  /**
   * Removes now, and at full speed, what the configured retention removes; resolves with how many of each outcome.
   * @throws InvalidArgumentError when none is configured
   */
  applyRetention(): Promise<RemovedCounts> {
    return this.engine.inspection.applyRetention();
  }

  /** How recovery stands, and what is unfinished in the whole database. */
  recovery(): Promise<RecoveryReport> {
    return this.engine.recovery();
  }
}
