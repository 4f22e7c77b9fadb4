/** A reference to a workflow by its id: works from any process, before and after its end. */
import type { Clock } from '../core/clock.js';
import { durationMs, type Duration } from '../core/duration.js';
import {
  EngineNotRunningError,
  RecoveryAttemptsExceededError,
  ResultTimeoutError,
  WorkflowCancelledError,
  WorkflowNotFoundError,
} from '../core/errors.js';
import type { EventKey, UpdateTopic } from '../core/schema.js';
import type { WorkflowOutcome, WorkflowRepository } from '../repository/workflow-repository.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Control } from './control.js';
import type {
  FamilyOptions,
  ForkOptions,
  RestartOptions,
  ResumeOptions,
} from './control-options.js';
import type { Events, GetEventOptions } from './events.js';
import type { OutcomeCodec } from './outcome.js';
import type { OutcomeWatch } from './outcome-watch.js';
import type { Patience } from './patience.js';
import type { Forks } from './fork.js';
import { LiveValues } from './live-values.js';
import type { RunScope, RunScopes } from './run-scope.js';
import { StatusReader, type StatusWatch } from './status-reader.js';
import { statusReport, type WorkflowStatusReport } from './status-report.js';
import type { ReadStreamOptions, Streams } from './streams.js';
import type { UpdateOptions, Updates } from './updates.js';
import { givenOptions } from '../core/given.js';

export interface ResultOptions {
  /** Gives up waiting (not the workflow) after this long. Default: never. */
  readonly timeout?: Duration;
}

export interface HandleParts {
  readonly workflows: WorkflowRepository;
  readonly control: Control;
  readonly forks: Forks;
  readonly outcomes: OutcomeWatch;
  readonly streams: Streams;
  readonly statuses: StatusWatch;
  readonly events: Events;
  readonly updates: Updates;
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly clock: Clock;
  readonly patience: Patience;
  /** Whether workflows may run here yet. */
  readonly isAdmitting: () => boolean;
}

export class WorkflowHandle<R = unknown> {
  readonly #parts: HandleParts;

  /** @internal Handles come from `start` and `handle(id)`. */
  constructor(
    readonly workflowId: string,
    parts: HandleParts,
  ) {
    this.#parts = parts;
  }

  /**
   * The result of the workflow. Inside a workflow this is a checkpointed operation.
   * @throws what the workflow threw (a copy: match on `name` or `code`)
   * @throws ResultTimeoutError, WorkflowCancelledError, RecoveryAttemptsExceededError, WorkflowNotFoundError
   * @throws ForbiddenInStepError inside of a step, EngineNotRunningError before the application has started
   */
  async result(options: ResultOptions = {}): Promise<R> {
    const { timeout } = givenOptions('handle.result()', options);
    const timeoutMs = timeout === undefined ? undefined : durationMs('timeout', timeout);
    const scope = this.#parts.scopes.outsideSteps('handle.result()');
    if (scope) return this.resultInWorkflow(scope, timeoutMs);
    if (!this.#parts.isAdmitting()) {
      throw new EngineNotRunningError(
        `The result of workflow "${this.workflowId}" cannot be awaited yet: workflows begin once every ` +
          "provider's onApplicationBootstrap has finished, so awaiting one there would hold up the bootstrap for ever.",
      );
    }
    return this.unwrap(await this.outcome(timeoutMs));
  }

  /** @internal With an id that was taken when the workflow was started. */
  resultInWorkflow(scope: RunScope, timeoutMs?: number, stepId?: string): Promise<R> {
    const produce = async (_stepId: string, report: OperationReport): Promise<R> => {
      report.awaits = { kind: 'workflow', workflowId: this.workflowId };
      return this.unwrap(await this.outcomeInWorkflow(scope, timeoutMs));
    };
    return checkpoint(scope, { name: 'handle.result', effect: false, produce }, stepId);
  }

  /** Inside a workflow this is a checkpointed operation. @throws WorkflowNotFoundError */
  async status(): Promise<WorkflowStatusReport> {
    const { scopes, workflows } = this.#parts;
    const read = async (): Promise<WorkflowStatusReport> => {
      const record = await workflows.find(this.workflowId);
      if (!record) throw new WorkflowNotFoundError(this.workflowId);
      return statusReport(record, this.#parts.codec);
    };
    const scope = scopes.current;
    if (!scope || scope.step) {
      return this.#parts.patience.with(
        read(),
        `The status of workflow "${this.workflowId}"`,
        'Try again.',
      );
    }
    return checkpoint(scope, { name: 'handle.status', produce: read });
  }

  /**
   * Where it stands now, then each change that is noticed, until it has ended: those of this process at once, others within
   * a poll interval. Changes that follow each other closely may be told as one. In a workflow each report that is taken is
   * a checkpointed operation.
   * @throws WorkflowNotFoundError, EngineNotRunningError to whoever reads
   */
  get status$(): LiveValues<WorkflowStatusReport> {
    const { statuses, scopes } = this.#parts;
    return new LiveValues(() => new StatusReader(statuses, scopes, this.workflowId));
  }

  /** The values of one of its streams, as `workflows.readStream`. @throws InvalidArgumentError */
  stream<T>(key: string, options?: ReadStreamOptions): LiveValues<T> {
    return this.#parts.streams.read<T>(this.workflowId, key, options);
  }

  /** As `workflows.getEvent` for this workflow. */
  getEvent<T>(
    key: string | EventKey<unknown, T>,
    options?: GetEventOptions,
  ): Promise<T | undefined> {
    return this.#parts.events.get<T>(this.workflowId, key, options);
  }

  /**
   * Asks the running workflow for something, and resolves with the reply of its handler (see `flow.updates`).
   *
   * @example
   * ```ts
   * const quote = await this.workflows.handle(orderId).update<Quote>('changeAddress', address, { timeout: '5s' });
   * ```
   * @throws what the handler threw; UpdateTimeoutError, UpdateNotHandledError when the workflow ended without a reply
   */
  update<In, Reply>(
    topic: UpdateTopic<In, unknown, unknown, Reply>,
    payload: NoInfer<In>,
    options?: UpdateOptions,
  ): Promise<Reply>;
  update<T>(topic: string, payload: unknown, options?: UpdateOptions): Promise<T>;
  update<T>(topic: string | UpdateTopic, payload: unknown, options?: UpdateOptions): Promise<T> {
    return this.#parts.updates.send<T>(this.workflowId, topic, payload, options);
  }

  /** As `workflows.cancel`; whether it changed anything. */
  async cancel(options?: FamilyOptions): Promise<boolean> {
    return (await this.#parts.control.cancel(this.workflowId, options)).length > 0;
  }

  /** As `workflows.resume`; whether it changed anything. */
  async resume(options?: ResumeOptions): Promise<boolean> {
    return (await this.#parts.control.resume(this.workflowId, options)).length > 0;
  }

  /** As `workflows.fork`. */
  async fork(options: ForkOptions): Promise<WorkflowHandle<R>> {
    return this.to(await this.#parts.forks.fork(this.workflowId, options));
  }

  /** As `workflows.restart`. */
  async restart(options: RestartOptions = {}): Promise<WorkflowHandle<R>> {
    return this.to(await this.#parts.forks.restart(this.workflowId, options));
  }

  /** As `workflows.delete`; whether there was anything. */
  async delete(options?: FamilyOptions): Promise<boolean> {
    return (await this.#parts.control.delete(this.workflowId, options)).length > 0;
  }

  private to(workflowId: string): WorkflowHandle<R> {
    return new WorkflowHandle<R>(workflowId, this.#parts);
  }

  private async outcomeInWorkflow(
    { run, sequence }: RunScope,
    timeoutMs: number | undefined,
  ): Promise<WorkflowOutcome> {
    const end = run.presence.waitYielding();
    try {
      return await this.outcome(timeoutMs, sequence.signal);
    } finally {
      end();
    }
  }

  private outcome(timeoutMs: number | undefined, signal?: AbortSignal): Promise<WorkflowOutcome> {
    const { outcomes, clock } = this.#parts;
    const waiting = outcomes.await(this.workflowId);
    if (timeoutMs === undefined && !signal) return waiting.outcome;
    return new Promise<WorkflowOutcome>((resolve, reject) => {
      const giveUp = (reason: Error): void => {
        waiting.cancel();
        reject(reason);
      };
      const timer =
        timeoutMs === undefined
          ? undefined
          : clock.schedule(timeoutMs, () =>
              giveUp(new ResultTimeoutError(this.workflowId, timeoutMs)),
            );
      const onAbort = (): void => giveUp(signal?.reason as Error);
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
      waiting.outcome.then(resolve, reject).finally(() => {
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      });
    });
  }

  private unwrap(outcome: WorkflowOutcome): R {
    switch (outcome.status) {
      case 'SUCCESS':
      case 'ERROR':
        return this.#parts.codec.recalled<R>(outcome).unwrap();
      case 'CANCELLED':
        throw new WorkflowCancelledError(outcome.id, outcome.cancelReason ?? undefined);
      case 'MAX_RECOVERY_ATTEMPTS_EXCEEDED':
        throw outcome.error
          ? this.#parts.codec.serializers.decodeError(outcome.error)
          : new RecoveryAttemptsExceededError(outcome.id, Number.NaN);
      default:
        return outcome.status satisfies never;
    }
  }
}
