/** What a workflow calls from inside: steps without a class, sleep, branches, its id. */
import { Injectable, type Type } from '@nestjs/common';
import { ContextIdFactory, ModuleRef } from '@nestjs/core';
import type { Duration } from '../core/duration.js';
import type { EventKey, Topic, UpdateTopic } from '../core/schema.js';
import type { Branch } from '../engine/branches.js';
import { Engine } from '../engine/engine.js';
import type { RecvOptions } from '../engine/messages.js';
import type { DecisionToken, TokenOptions } from '../engine/tokens.js';
import type { StepContext } from '../engine/run-scope.js';
import type { StepBody, StepOptions } from '../engine/step.js';
import type { Update, UpdatesOptions } from '../engine/updates.js';
import type { WorkflowRun } from '../engine/workflow-run.js';
import type { TransactionalClient, TransactionOf } from './transaction-of.js';
import { WorkflowBinder } from './workflow-binder.js';

type ContextId = ReturnType<typeof ContextIdFactory.create>;

/** What log lines say of where they come from. */
export interface WorkflowLogFields {
  readonly workflowId: string;
  /** Its name. */
  readonly workflow: string;
  readonly stepId?: string;
  /** Its name. */
  readonly step?: string;
  readonly attempt?: number;
}

@Injectable()
export class WorkflowContext {
  /** One Nest context for each run, so that its request-scoped providers are made once. */
  private readonly contexts = new WeakMap<WorkflowRun, ContextId>();

  constructor(
    private readonly engine: Engine,
    private readonly container: ModuleRef,
    private readonly binder: WorkflowBinder,
  ) {}

  /** @throws NotInWorkflowError */
  get workflowId(): string {
    return this.engine.flow.workflowId;
  }

  /** Whether the calling code runs in a workflow, be it in one of its steps. */
  get isInWorkflow(): boolean {
    return this.engine.flow.isInWorkflow;
  }

  /**
   * Of which workflow and step a log line is; undefined outside of workflows. For loggers that take fields from where they
   * are called, such as pino: `mixin: () => flow.logFields ?? {}`.
   */
  get logFields(): WorkflowLogFields | undefined {
    const { run, step } = this.engine.scopes.current ?? {};
    if (!run) return undefined;
    const { id: workflowId, name: workflow } = run;
    if (!step) return { workflowId, workflow };
    return {
      workflowId,
      workflow,
      stepId: step.stepId,
      step: step.stepName,
      attempt: step.attempt,
    };
  }

  /**
   * The client of the transaction around the calling code, typed as that of the application's own client.
   *
   * @example
   * ```ts
   * await this.flow.prisma<PrismaService>().order.create({ data });
   * ```
   * @throws NotInTransactionError outside of a method marked with `@Transaction()`
   */
  prisma<Client extends TransactionalClient>(): TransactionOf<Client> {
    return this.engine.transactions.client as TransactionOf<Client>;
  }

  /** Attempt, signal and idempotency key of the step that calls. @throws NotInWorkflowError outside of a step */
  get stepContext(): StepContext {
    return this.engine.flow.stepContext;
  }

  /**
   * Runs a function as a step: recorded under `name`, and once recorded never run again.
   *
   * @example
   * ```ts
   * const rate = await this.flow.step('fetchRate', ({ signal }) => fetchRate(order.currency, signal));
   * ```
   */
  step<T>(name: string, body: StepBody<T>, options?: StepOptions): Promise<T> {
    return this.engine.flow.step(name, body, options);
  }

  /** Waits durably: a span (`1500`, `'1h'`, `'3d'`) or until a `Date`. A restart waits only the rest. */
  sleep(until: Duration | Date): Promise<void> {
    return this.engine.flow.sleep(until);
  }

  /**
   * Receives the oldest message that was sent to this workflow on the topic, and waits for one if there is none:
   * as long as it takes, or until the timeout, durably. A message that was received is received by nobody else.
   * @returns undefined when none came in time
   *
   * @example
   * ```ts
   * const approval = await this.flow.recv<Approval>('approval', { timeout: '3d' });
   * ```
   */
  recv<T>(topic?: string | Topic<unknown, T>): Promise<T>;
  recv<T>(
    topic: string | Topic<unknown, T> | undefined,
    options: RecvOptions,
  ): Promise<T | undefined>;
  recv<T>(topic?: string | Topic<unknown, T>, options?: RecvOptions): Promise<T | undefined> {
    return this.engine.messages.receive<T>(topic, options);
  }

  /** As `recv`, but for the end of the wait. @throws RecvTimeoutError when no message came in time */
  recvOrThrow<T>(topic: string | Topic<unknown, T> | undefined, options: RecvOptions): Promise<T> {
    return this.engine.messages.receiveOrThrow<T>(topic, options);
  }

  /**
   * Lets others know something while the workflow runs and after its end: `workflows.getEvent(id, key)`. It replaces what
   * was set under the key before, and stands in one commit with its checkpoint.
   */
  setEvent<In>(key: EventKey<In, unknown>, value: NoInfer<In>): Promise<void>;
  setEvent(key: string, value: unknown): Promise<void>;
  setEvent(key: string | EventKey, value: unknown): Promise<void> {
    return this.engine.events.set(key, value);
  }

  /**
   * A token to give out, in a link say: whoever holds it decides, once, with `workflows.resolveToken(token, value)` or
   * `rejectToken`. It is a secret that the database does not know, so hand it on in the next step. A run that is repeated
   * gets another one; those given out before stay good.
   *
   * @example
   * ```ts
   * const approval = await this.flow.createToken<Approval>({ timeout: '3d' });
   * await this.mail.askForApproval(order, approval.token);
   * const { by } = await approval.wait(); // throws TokenRejectedError, TokenExpiredError
   * ```
   */
  createToken<T>(options?: TokenOptions): Promise<DecisionToken<T>> {
    return this.engine.tokens.create<T>(options);
  }

  /**
   * The requests that `handle.update(topic, payload)` sends to this workflow, one after the other; ends when none came
   * before the timeout. Answer each, or whoever sent it waits in vain.
   *
   * @example
   * ```ts
   * for await (const update of this.flow.updates<Address>('changeAddress', { timeout: '1d' })) {
   *   await update.answer((address) => this.shipping.redirect(order, address));
   * }
   * ```
   */
  updates<P>(
    topic: string | UpdateTopic<unknown, P>,
    options?: UpdatesOptions<P>,
  ): AsyncIterable<Update<P>> {
    return this.engine.updates.receive<P>(topic, options);
  }

  /**
   * Whether this run takes the new code of a change: true for runs that come here for the first time, which leave a
   * marker, and for their replays; false for runs that an older version brought past here. Old runs are finished by the
   * old branch, as long as there is one.
   *
   * @example
   * ```ts
   * if (await this.flow.patched('check-fraud')) await this.fraud.check(order);
   * ```
   * @throws NotInWorkflowError, ForbiddenInStepError
   */
  patched(id: string): Promise<boolean> {
    return this.engine.flow.patches.patched(id);
  }

  /**
   * Stands where `patched(id)` stood once no run of the old code is left: it passes over markers of runs that have one,
   * and leaves none. It may go when no run with a marker is left.
   * @throws NotInWorkflowError, ForbiddenInStepError
   */
  deprecatePatch(id: string): Promise<void> {
    return this.engine.flow.patches.deprecatePatch(id);
  }

  /** The current time, recorded: a replay sees the same. */
  now(): Promise<Date> {
    return this.engine.flow.now();
  }

  /** A random UUID, recorded: a replay sees the same. */
  uuid(): Promise<string> {
    return this.engine.flow.uuid();
  }

  /**
   * Appends a value to a stream of this workflow, for `workflows.readStream` to follow; resolves with its offset once it
   * is durable. Exactly once from the workflow; from a step as often as its body comes to it.
   *
   * @example
   * ```ts
   * await this.flow.writeStream('progress', { percent: 40 });
   * ```
   * @throws StreamClosedError, InvalidArgumentError, UnserializableValueError, NotInWorkflowError
   */
  writeStream(key: string, value: unknown): Promise<number> {
    return this.engine.streams.writer.write(key, value);
  }

  /**
   * Ends a stream: readers end once they have all of it, and nothing more can be written. Streams that are not closed end
   * with their workflow.
   * @throws NotInWorkflowError, ForbiddenInStepError: a step that runs again would find it closed
   */
  closeStream(key: string): Promise<void> {
    return this.engine.streams.writer.close(key);
  }

  /**
   * Runs branches side by side, each with its own sequence of steps; resolves with the results in order. After a
   * failure nothing more is begun, what has begun settles, and the failure of the lowest index is thrown.
   */
  all<T extends readonly unknown[]>(branches: {
    readonly [K in keyof T]: Branch<T[K]>;
  }): Promise<T> {
    return this.engine.flow.all(branches) as unknown as Promise<T>;
  }

  /** Runs `work` for every item in a branch of its own, at most `concurrency` at a time; otherwise like `all`. */
  map<T, R>(
    items: readonly T[],
    work: (item: T, index: number) => R | Promise<R>,
    options: { readonly concurrency?: number } = {},
  ): Promise<R[]> {
    return this.engine.flow.map(items, work, options?.concurrency);
  }

  /** The outcome of the branch that settles first, recorded; the others are cut off and their signals aborted. */
  race<const B extends ReadonlyArray<Branch<unknown>>>(
    branches: B,
  ): Promise<Awaited<ReturnType<B[number]>>> {
    return this.engine.flow.race(branches) as Promise<Awaited<ReturnType<B[number]>>>;
  }

  /** A request-scoped or transient provider, made for this run, its steps bound. */
  async resolve<T extends object>(type: Type<T>): Promise<T> {
    const { run } = this.engine.scopes.require('flow.resolve()');
    let contextId = this.contexts.get(run);
    if (!contextId) this.contexts.set(run, (contextId = ContextIdFactory.create()));
    const instance = await this.container.resolve<T>(type, contextId, { strict: false });
    this.binder.bindContext(contextId); // what it injects may have steps as well
    this.binder.bindInstance(instance, type);
    return instance;
  }
}
