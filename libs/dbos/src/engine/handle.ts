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
import type { WorkflowStatus } from '../core/status.js';
import type {
  WorkflowOutcome,
  WorkflowRecord,
  WorkflowRepository,
} from '../repository/workflow-repository.js';
import { checkpoint } from './checkpoint.js';
import type { Events, GetEventOptions } from './events.js';
import type { OutcomeCodec } from './outcome.js';
import type { OutcomeWatch } from './outcome-watch.js';
import type { Patience } from './patience.js';
import type { RunScope, RunScopes } from './run-scope.js';
import type { UpdateOptions, Updates } from './updates.js';

export interface ResultOptions {
  /** Gives up waiting (not the workflow) after this long. Default: never. */
  readonly timeout?: Duration;
}

/** What is known of a workflow, without its payloads. */
export interface WorkflowStatusReport {
  readonly workflowId: string;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly executorId: string | null;
  readonly recoveryAttempts: number;
  /** Runs that failed and were tried again. */
  readonly failures: number;
  /** The queue it was put on; null for one that was started. */
  readonly queue: string | null;
  readonly priority: number;
  readonly partitionKey: string | null;
  readonly deduplicationId: string | null;
  readonly parentId: string | null;
  readonly applicationVersion: string | null;
  readonly attributes: Readonly<Record<string, unknown>> | null;
  /** Why it failed, was set aside or is suspended. */
  readonly error: string | null;
  /** When a delayed or sleeping workflow goes on. */
  readonly wakeAt: Date | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly completedAt: Date | null;
}

export interface HandleParts {
  readonly workflows: WorkflowRepository;
  readonly outcomes: OutcomeWatch;
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
  async result({ timeout }: ResultOptions = {}): Promise<R> {
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
    const produce = async (): Promise<R> =>
      this.unwrap(await this.outcomeInWorkflow(scope, timeoutMs));
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
        throw new WorkflowCancelledError(outcome.id);
      case 'MAX_RECOVERY_ATTEMPTS_EXCEEDED':
        throw outcome.error
          ? this.#parts.codec.serializers.decodeError(outcome.error)
          : new RecoveryAttemptsExceededError(outcome.id, Number.NaN);
      default:
        return outcome.status satisfies never;
    }
  }
}

export function statusReport(record: WorkflowRecord, codec: OutcomeCodec): WorkflowStatusReport {
  return {
    workflowId: record.id,
    name: record.name,
    status: record.status,
    executorId: record.executorId,
    recoveryAttempts: record.recoveryAttempts,
    failures: record.failures,
    queue: record.queue,
    priority: record.priority,
    partitionKey: record.partitionKey,
    deduplicationId: record.deduplicationId,
    parentId: record.parentId,
    applicationVersion: record.applicationVersion,
    attributes: record.attributes,
    error: record.error && codec.serializers.decodeError(record.error).message,
    wakeAt: record.wakeAt,
    createdAt: record.createdAt,
    startedAt: record.startedAt,
    completedAt: record.completedAt,
  };
}
