/** What controllers and other providers use: start workflows, wait for them, look at them, manage them. */
import { Injectable, type Type } from '@nestjs/common';
import { Engine, type RecoveryReport } from '../engine/engine.js';
import type { WorkflowHandle } from '../engine/handle.js';
import type { StartOptions } from '../engine/starter.js';
import type { StepReport } from '../engine/step-report.js';
import { WorkflowBinder } from './workflow-binder.js';

/** The methods of `T`, each started as a workflow. */
export type Starting<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: T[K] extends (
    ...args: infer A
  ) => infer R
    ? (...args: A) => Promise<WorkflowHandle<Awaited<R>>>
    : never;
};

/** The methods of `T`, each started as a workflow and awaited. */
export type Executing<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: T[K] extends (
    ...args: infer A
  ) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

@Injectable()
export class WorkflowService {
  constructor(
    private readonly engine: Engine,
    private readonly binder: WorkflowBinder,
  ) {}

  /**
   * Starts a workflow; the promise resolves once it is durable. Inside a workflow it becomes a child.
   *
   * @example
   * ```ts
   * const handle = await this.workflows.start(CheckoutWorkflow, { workflowId: order.id }).run(order);
   * ```
   * @throws WorkflowNotRegisteredError, WorkflowIdConflictError, InvalidArgumentError, UnserializableValueError,
   *   EngineNotRunningError, DatabaseUnavailableError, ForbiddenInStepError
   */
  start<T extends object>(type: Type<T>, options: StartOptions = {}): Starting<T> {
    return this.methodsOf(type, (name, args) =>
      this.engine.start(name, args, options),
    ) as Starting<T>;
  }

  /** Starts a workflow and resolves with its result, or rejects with its error. */
  execute<T extends object>(type: Type<T>, options: StartOptions = {}): Executing<T> {
    return this.methodsOf(type, (name, args) =>
      this.engine.execute(name, args, options),
    ) as Executing<T>;
  }

  /** A reference to a workflow that any process may have started. @throws InvalidArgumentError */
  handle<R = unknown>(workflowId: string): WorkflowHandle<R> {
    return this.engine.handle<R>(workflowId);
  }

  /** The recorded steps of a workflow, in order. */
  steps(workflowId: string): Promise<StepReport[]> {
    return this.engine.steps(workflowId);
  }

  /** Cancels workflows that have no outcome yet; returns the ids it changed. */
  cancel(...workflowIds: string[]): Promise<string[]> {
    return this.engine.cancel(workflowIds);
  }

  /** Lets cancelled, set aside, suspended or delayed workflows go on now; returns the ids it changed. */
  resume(...workflowIds: string[]): Promise<string[]> {
    return this.engine.resume(workflowIds);
  }

  /** How recovery stands, and what is unfinished in the whole database. */
  recovery(): Promise<RecoveryReport> {
    return this.engine.recovery();
  }

  private methodsOf<T extends object>(
    type: Type<T>,
    call: (name: string, args: unknown[]) => Promise<unknown>,
  ): object {
    return new Proxy(Object.freeze({}), {
      get: (_target, method) => {
        // Awaiting the object itself, instead of a method of it, must not look like a method called `then`.
        if (typeof method === 'symbol' || method === 'then') return undefined;
        const name = this.binder.workflowName(type, method);
        return (...args: unknown[]) => call(name, args);
      },
    });
  }
}
