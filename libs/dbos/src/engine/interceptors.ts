/** Code of the application around real executions: of workflows once a run, of steps once an attempt. */
import { InterceptorError } from '../core/extension-errors.js';
import type { StepContext } from './run-scope.js';
import type { WorkflowRun } from './workflow-run.js';

/** The attempt of a step that is under way. */
export interface InterceptedStep extends StepContext {
  readonly workflowName: string;
  /** A transaction is intercepted within itself: what it throws rolls it back. */
  readonly kind: 'step' | 'transaction';
}

/** The run of a workflow that is under way. */
export interface InterceptedWorkflow {
  readonly workflowId: string;
  readonly workflowName: string;
  /** 1 for the first run; each recovery, waking and resumption is another. Steps that are recorded are not run again. */
  readonly run: number;
  /** How often an executor of it died before. */
  readonly recoveryAttempts: number;
}

/**
 * Around the bodies of steps, once an attempt and never on a replay. What it returns or throws is what the attempt comes
 * to: it is recorded, or tried again under the policy of the step. `next` runs the rest and the body; called twice it
 * throws, not called at all the body does not run.
 */
export interface StepInterceptor {
  intercept(context: InterceptedStep, next: () => Promise<unknown>): unknown;
}

/**
 * Around the bodies of workflows, once a run. What it returns or throws is what the run comes to, unless the run was
 * interrupted (cancelled, taken over, suspended). It belongs to no workflow: steps called in it are ordinary methods.
 * Where the workflow leaves memory, as in a long sleep, `next` never settles, and the next run is another call.
 */
export interface WorkflowInterceptor {
  intercept(context: InterceptedWorkflow, next: () => Promise<unknown>): unknown;
}

export class Interceptors {
  private readonly ofSteps: StepInterceptor[] = [];
  private readonly ofWorkflows: WorkflowInterceptor[] = [];

  /** The first is the outermost. */
  addStep(interceptor: StepInterceptor): void {
    this.ofSteps.push(interceptor);
  }

  addWorkflow(interceptor: WorkflowInterceptor): void {
    this.ofWorkflows.push(interceptor);
  }

  /** One attempt. Without interceptors the body is called as it is: every step would pay for more. */
  aroundStep<T>(
    { run, kind }: { readonly run: WorkflowRun; readonly kind: InterceptedStep['kind'] },
    context: StepContext,
    body: () => T | Promise<T>,
  ): T | Promise<T> {
    if (this.ofSteps.length === 0) return body();
    const intercepted: InterceptedStep = {
      workflowId: run.id,
      workflowName: run.name,
      kind,
      stepId: context.stepId,
      stepName: context.stepName,
      attempt: context.attempt,
      idempotencyKey: context.idempotencyKey,
      get signal() {
        return context.signal;
      },
    };
    const place = `step "${context.stepName}" of workflow "${run.id}"`;
    return wrapped(this.ofSteps, intercepted, { place, body }) as Promise<T>;
  }

  /** One run. */
  aroundWorkflow<T>(
    run: WorkflowRun,
    { recoveryAttempts }: { readonly recoveryAttempts: number },
    body: () => T,
  ): T | Promise<unknown> {
    if (this.ofWorkflows.length === 0) return body();
    const { id: workflowId, name: workflowName, owner } = run;
    const intercepted = { workflowId, workflowName, run: owner.epoch, recoveryAttempts };
    return wrapped(this.ofWorkflows, intercepted, { place: `workflow "${workflowId}"`, body });
  }
}

interface Interceptor<C> {
  intercept(context: C, next: () => Promise<unknown>): unknown;
}

/** The last interceptor lies around the body, each earlier one around the next. */
function wrapped<C>(
  interceptors: ReadonlyArray<Interceptor<C>>,
  context: C,
  { place, body }: { readonly place: string; readonly body: () => unknown },
): Promise<unknown> {
  const outermost = interceptors.reduceRight<() => unknown>((inner, interceptor) => {
    let called = false;
    const next = async (): Promise<unknown> => {
      if (called) throw new InterceptorError(place);
      called = true;
      return inner();
    };
    return () => interceptor.intercept(context, next);
  }, body);
  return (async () => outermost())();
}
