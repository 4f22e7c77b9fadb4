/** A queue as applications use it: injected by its name. */
import type { Type } from '@nestjs/common';
import type { Duration } from '../core/duration.js';
import type { TransactionalOptions } from '../core/open-transaction.js';
import type { EnqueueOptions, QueueLimits } from '../core/queue.js';
import type { Engine } from '../engine/engine.js';
import type { WorkflowHandle } from '../engine/handle.js';
import type { QueueReport } from '../engine/queues.js';
import type { WorkflowBinder } from './workflow-binder.js';
import { methodsOf, type MethodsOf, type Starting } from './workflow-methods.js';

/** One of many workflows to be enqueued at once. */
export type EnqueueItem<A extends unknown[]> = Omit<EnqueueOptions, 'tx'> & { readonly args: A };

/** The methods of `T`, each enqueued many times at once. */
export type EnqueuingMany<T> = {
  readonly [K in keyof MethodsOf<T>]: MethodsOf<T>[K] extends (...args: infer A) => infer R
    ? (items: ReadonlyArray<EnqueueItem<A>>) => Promise<Array<WorkflowHandle<Awaited<R>>>>
    : never;
};

export class Queue {
  /** @internal Injected: `@InjectQueue('name') private readonly queue: Queue`. */
  constructor(
    readonly name: string,
    private readonly engine: Engine,
    private readonly binder: WorkflowBinder,
  ) {}

  /**
   * Puts a workflow on the queue; resolves with its handle once it is durable. Inside a workflow it becomes a child.
   *
   * @example
   * ```ts
   * await this.queue.enqueue(FulfilmentWorkflow, { partitionKey: order.warehouse, priority: 1 }).run(order);
   * ```
   * @throws DeduplicatedError, WorkflowIdConflictError, WorkflowNotRegisteredError, InvalidArgumentError,
   *   UnserializableValueError, EngineNotRunningError, DatabaseUnavailableError, ForbiddenInStepError
   */
  enqueue<T extends object>(type: Type<T>, options: EnqueueOptions = {}): Starting<T> {
    return methodsOf(this.binder, type, async (name, args) => {
      const id = await this.engine.queues.enqueue(this.name, name, args, options);
      return this.engine.handle(id);
    }) as Starting<T>;
  }

  /**
   * Puts many workflows on the queue, all or none, in one statement; at most 10,000.
   *
   * @example
   * ```ts
   * await this.queue.enqueueMany(FulfilmentWorkflow).run(orders.map((order) => ({ args: [order], workflowId: order.id })));
   * ```
   */
  enqueueMany<T extends object>(
    type: Type<T>,
    options: TransactionalOptions = {},
  ): EnqueuingMany<T> {
    return methodsOf(this.binder, type, async (name, [items]) => {
      const given = items as ReadonlyArray<EnqueueItem<unknown[]>>;
      const ids = await this.engine.queues.enqueueMany(this.name, name, given, options);
      return ids.map((id) => this.engine.handle(id));
    }) as EnqueuingMany<T>;
  }

  /** From now on nothing of the queue is claimed, by any process; what runs goes on. Survives restarts. */
  pause(): Promise<void> {
    return this.engine.queues.pause(this.name);
  }

  resume(): Promise<void> {
    return this.engine.queues.resume(this.name);
  }

  /**
   * Sets all limits of the queue at once, for all processes, from the next claim on; those left out are lifted. They
   * stay until the code declares other limits than it did before.
   * @throws InvalidArgumentError
   */
  configure(limits: QueueLimits): Promise<void> {
    return this.engine.queues.configure(this.name, limits);
  }

  /** Of workflows that wait; returns the ids it changed. The lowest is claimed first. */
  setPriority(workflowIds: string | readonly string[], priority: number): Promise<string[]> {
    const ids = typeof workflowIds === 'string' ? [workflowIds] : workflowIds;
    return this.engine.queues.setPriority(ids, priority);
  }

  /**
   * When a delayed workflow that has not begun may be claimed: a span from now, or a moment. False when it is not
   * delayed (any more).
   */
  setDelay(workflowId: string, until: Duration | Date): Promise<boolean> {
    return this.engine.queues.setDelay(workflowId, until);
  }

  /** Its limits, whether it is paused, and how much waits and runs. */
  report(): Promise<QueueReport> {
    return this.engine.queues.report(this.name);
  }
}
