/** Steps: a body that is tried until it succeeds or its policy says enough, with one checkpoint for the outcome. */
import { wait, type Clock } from '../core/clock.js';
import {
  FatalStepError,
  InvalidArgumentError,
  RetryAfterError,
  StepRetriesExhaustedError,
} from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { retryDelayMs, retryPolicy, type RetryPolicy } from '../core/retry.js';
import { AttemptContext } from './attempt-context.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Interceptors } from './interceptors.js';
import type { RunScope, RunScopes, StepContext } from './run-scope.js';

/** How a step is tried again. Defaults: no retries, 100 ms, factor 2, at most 5 s between attempts. */
export interface StepOptions extends Partial<RetryPolicy> {
  /** Longest time of one attempt; then its signal is aborted and it counts as failed. Unlimited by default. */
  readonly timeoutMs?: number;
  /** Asked after each failure of a step with retries; `false` makes that failure the outcome, as it is. */
  readonly shouldRetry?: (error: unknown, attempt: number) => boolean | Promise<boolean>;
}

/** A validated step. */
export interface StepDefinition {
  readonly name: string;
  readonly policy: RetryPolicy;
  readonly timeoutMs: number | undefined;
  readonly shouldRetry: StepOptions['shouldRetry'];
}

export type StepBody<T> = (context: StepContext) => T | Promise<T>;

/** @throws InvalidArgumentError naming the step and the option */
export function defineStep(name: string, options: StepOptions = {}): StepDefinition {
  assertIdentifier('A step name', name);
  const { timeoutMs, shouldRetry, ...policy } = options;
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw new InvalidArgumentError(
      `Step "${name}": timeoutMs must be a finite number above 0, not ${String(timeoutMs)}.`,
    );
  }
  return { name, policy: retryPolicy(`Step "${name}"`, policy), timeoutMs, shouldRetry };
}

/** What steps are run with. */
export interface StepSurroundings {
  readonly scopes: RunScopes;
  readonly clock: Clock;
  readonly random: () => number;
  readonly interceptors: Interceptors;
  /** A back-off longer than this gives the slot of the run to others. */
  readonly longWaitMs: number;
}

/** Runs a step of the current workflow: recalled or tried, and recorded. */
export function runStep<T>(
  surroundings: StepSurroundings,
  scope: RunScope,
  definition: StepDefinition,
  body: StepBody<T>,
): Promise<T> {
  return checkpoint(scope, {
    name: definition.name,
    kind: 'step',
    produce: (stepId, report) =>
      new StepExecution(surroundings, scope, { definition, body, stepId }).settle(report),
  });
}

interface StepCall<T> {
  readonly definition: StepDefinition;
  readonly body: StepBody<T>;
  readonly stepId: string;
}

/** One step from its first attempt to its outcome. */
class StepExecution<T> {
  private readonly startedAt: number;
  private readonly failures = new Failures();

  constructor(
    private readonly surroundings: StepSurroundings,
    private readonly scope: RunScope,
    private readonly call: StepCall<T>,
  ) {
    this.startedAt = surroundings.clock.monotonic();
  }

  /** What is tried once is its body and nothing more: most steps are, and a loop of attempts has its price. */
  settle(report: OperationReport): T | Promise<T> {
    if (this.call.definition.policy.maxRetries > 0) return this.untilSettled(report);
    const context = this.context(1);
    report.onSettled = () => context.end();
    return this.attempt(context);
  }

  private async untilSettled(report: OperationReport): Promise<T> {
    const { run, sequence } = this.scope;
    for (;;) {
      report.attempts = this.failures.count + 1;
      const context = this.context(report.attempts);
      let failure: unknown;
      try {
        return await this.attempt(context);
      } catch (error) {
        failure = error;
      } finally {
        context.end();
      }
      run.assertGoing(sequence); // an interruption is no failed attempt
      this.failures.add(failure);
      const retryInMs = await this.pauseBeforeRetry(failure, context);
      const { attempts: attempt, diagnosed } = report;
      run.diagnostics.stepRetried(diagnosed, { attempt, error: failure, retryInMs });
      await this.pause(retryInMs);
      await run.barrier(sequence, true); // an attempt is an effect like the first one
    }
  }

  private context(attempt: number): AttemptContext {
    const { definition, stepId } = this.call;
    return new AttemptContext(this.scope, stepId, definition.name, attempt);
  }

  /** @throws the error that is the outcome of the step, when it is not to be tried again */
  private async pauseBeforeRetry(error: unknown, context: StepContext): Promise<number> {
    const { name, policy, shouldRetry } = this.call.definition;
    const retry = this.failures.count;
    if (error instanceof FatalStepError) throw error;
    // Asked after the last attempt as well: an error that is final by its nature is not wrapped for coming late.
    if (shouldRetry && !(await this.inStep(context, () => shouldRetry(error, retry)))) throw error;
    if (retry > policy.maxRetries) {
      throw this.failures.exhausted(name, policy.maxRetries);
    }
    const { clock, random } = this.surroundings;
    const pauseMs = this.requestedPause(error) ?? retryDelayMs(policy, retry, random());
    const elapsedMs = clock.monotonic() - this.startedAt;
    if (elapsedMs + pauseMs > policy.maxRetryDurationMs) {
      throw this.failures.exhausted(name, retry - 1);
    }
    return pauseMs;
  }

  /** Body and predicate belong to the step: what they call takes no ids of the workflow. */
  private inStep<R>(context: StepContext, work: () => R): R {
    return this.surroundings.scopes.enter({ ...this.scope, step: context }, work);
  }

  private async pause(ms: number): Promise<void> {
    const { run, sequence } = this.scope;
    const { presence } = run;
    const isLong = ms > this.surroundings.longWaitMs;
    const end = isLong ? presence.waitYielding() : presence.waitShort();
    try {
      await wait(this.surroundings.clock, ms, sequence.signal);
    } finally {
      end();
    }
  }

  private requestedPause(error: unknown): number | undefined {
    if (!(error instanceof RetryAfterError)) return undefined;
    const { retryAfter } = error;
    const pauseMs =
      retryAfter instanceof Date
        ? retryAfter.getTime() - this.surroundings.clock.now()
        : retryAfter;
    return Number.isFinite(pauseMs) ? Math.max(0, pauseMs) : undefined;
  }

  private attempt(context: AttemptContext): T | Promise<T> {
    const { definition, body } = this.call;
    const { interceptors } = this.surroundings;
    const execution = { run: this.scope.run, kind: 'step' } as const;
    const call = (): T | Promise<T> =>
      this.inStep(context, () => interceptors.aroundStep(execution, context, () => body(context)));
    const { timeoutMs } = definition;
    return timeoutMs === undefined ? call() : context.within(timeoutMs, this.surroundings, call);
  }
}

/** The errors of a step's attempts; of very many only the first and the last. */
class Failures {
  private static readonly KEPT_AT_EACH_END = 50;
  private static readonly NONE: readonly unknown[] = [];
  private first = Failures.NONE;
  private last = Failures.NONE;
  count = 0;

  add(error: unknown): void {
    this.count += 1;
    if (this.first.length < Failures.KEPT_AT_EACH_END) this.first = [...this.first, error];
    else this.last = [...this.last, error].slice(-Failures.KEPT_AT_EACH_END);
  }

  exhausted(stepName: string, maxRetries: number): StepRetriesExhaustedError {
    const kept = [...this.first, ...this.last];
    return new StepRetriesExhaustedError(stepName, maxRetries, kept, this.count - kept.length);
  }
}
