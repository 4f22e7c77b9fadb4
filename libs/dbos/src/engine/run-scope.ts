/** The ambient state of code that runs inside a workflow: its run, its sequence of steps, its step. Nothing else. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { ForbiddenInStepError, NotInWorkflowError } from '../core/errors.js';
import type { StepSequence } from './step-sequence.js';
import type { WorkflowRun } from './workflow-run.js';

/** What a step body may know of its own execution. */
export interface StepContext {
  readonly workflowId: string;
  readonly stepId: string;
  readonly stepName: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** The same at every attempt and every replay of this step: hand it to the service you call. */
  readonly idempotencyKey: string;
  /** Aborted when the attempt times out, the workflow is cancelled, or the executor must stop. */
  readonly signal: AbortSignal;
}

export interface RunScope {
  readonly run: WorkflowRun;
  readonly sequence: StepSequence;
  readonly step?: StepContext;
}

/** One for each engine, so that two applications in one process never meet. */
export class RunScopes {
  private readonly storage = new AsyncLocalStorage<RunScope>();

  /** The scope of the calling code, if it runs in a workflow. */
  get current(): RunScope | undefined {
    return this.storage.getStore();
  }

  enter<T>(scope: RunScope, work: () => T): T {
    return this.storage.run(scope, work);
  }

  /**
   * The scope for an operation that only a workflow may call.
   * @throws NotInWorkflowError outside of a workflow
   * @throws ForbiddenInStepError inside of a step
   */
  require(operation: string): RunScope {
    const scope = this.current;
    if (!scope) throw new NotInWorkflowError(operation);
    if (scope.step) throw new ForbiddenInStepError(operation, scope.step.stepName);
    return scope;
  }

  /**
   * The scope for an operation that workflows and ordinary code may call, but steps may not.
   * @throws ForbiddenInStepError inside of a step
   */
  outsideSteps(operation: string): RunScope | undefined {
    return this.current && this.require(operation);
  }
}
