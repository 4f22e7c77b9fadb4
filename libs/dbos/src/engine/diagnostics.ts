/**
 * Publishes on `node:diagnostics_channel` what this engine does. While nobody subscribes no event is made: an operation
 * asks a channel or two, and that is all.
 */
import { randomUUID } from 'node:crypto';
import { channel, type Channel } from 'node:diagnostics_channel';
import { RunInterruptedError } from '../core/errors.js';
import type { ClaimedWorkflow } from '../repository/queue-repository.js';
import type {
  CallEvent,
  DiagnosticsEvents,
  DiagnosticsSpan,
  RunEvent,
  StepEvent,
} from './diagnostics-events.js';
import type { ExecutorIdentity } from './executor-identity.js';
import { endingOf } from './lifecycle.js';
import { BranchClosedError } from './step-sequence.js';

export const CHANNEL_PREFIX = 'nestjs-dbos:';

/** Held here, for a channel that nobody holds is forgotten. */
const channels = {
  callStart: of('call.start'),
  callEnd: of('call.end'),
  runStart: of('workflow.start'),
  runEnd: of('workflow.end'),
  stepStart: of('step.start'),
  stepEnd: of('step.end'),
  stepRetry: of('step.retry'),
  stepReplay: of('step.replay'),
  recovery: of('workflow.recovery'),
};

function of(name: keyof DiagnosticsEvents): Channel {
  return channel(`${CHANNEL_PREFIX}${name}`);
}

/** The run that an operation is part of. */
interface DiagnosedRun {
  readonly id: string;
  readonly name: string;
  readonly owner: { readonly epoch: number };
  readonly diagnosed: RunEvent | undefined;
}

type BegunRun = ClaimedWorkflow & {
  readonly carried?: Readonly<Record<string, string>> | undefined;
};

export class Diagnostics {
  readonly engineId = randomUUID();

  constructor(
    private readonly parts: {
      readonly identity: ExecutorIdentity;
      readonly version: { readonly own: string | undefined };
    },
  ) {}

  /** Does the work of a call; without anybody to hear of it there is no event. */
  call<T>(
    call: Pick<CallEvent, 'kind' | 'name'> &
      Partial<Pick<CallEvent, 'queue' | 'count' | 'workflowId'>>,
    work: (event?: CallEvent) => Promise<T>,
  ): Promise<T> {
    if (!channels.callStart.hasSubscribers && !channels.callEnd.hasSubscribers) return work();
    return this.heardCall(call, work);
  }

  private async heardCall<T>(
    { queue, workflowId, count = 1, ...call }: Parameters<Diagnostics['call']>[0],
    work: (event: CallEvent) => Promise<T>,
  ): Promise<T> {
    const event: CallEvent = {
      ...this.span(call.name),
      ...call,
      queue,
      workflowId,
      count,
      carried: {},
    };
    channels.callStart.publish(event);
    try {
      return await within(event, () => work(event));
    } catch (error) {
      failed(event, error);
      throw error;
    } finally {
      ended(event);
      channels.callEnd.publish(event);
    }
  }

  /** To be called with what the workflow carries around it. */
  runBegan(run: BegunRun): RunEvent | undefined {
    if (!channels.runStart.hasSubscribers && !channels.runEnd.hasSubscribers) return undefined;
    const { id, name, epoch, recoveryAttempts, queue, carried = {} } = run;
    const event: RunEvent = {
      ...this.span(name),
      workflowId: id,
      epoch,
      recoveryAttempts,
      queue: queue ?? undefined,
      carried,
      outcome: undefined,
    };
    channels.runStart.publish(event);
    return event;
  }

  /**
   * @param began what it began with; undefined for a run whose code was not called
   * @param how as the executor says it, see `Lifecycle.ended`
   */
  runEnded(began: RunEvent | undefined, run: BegunRun, how: string): void {
    const event = began ?? this.runBegan(run);
    if (!event) return;
    event.outcome = endingOf(how);
    ended(event);
    channels.runEnd.publish(event);
  }

  /** Asked before every operation, so that without anybody to hear of it nothing is made at all. */
  get hearsSteps(): boolean {
    return channels.stepStart.hasSubscribers || channels.stepEnd.hasSubscribers;
  }

  stepBegan(
    run: DiagnosedRun,
    {
      stepId,
      name,
      kind = 'operation',
    }: Pick<StepEvent, 'stepId' | 'name'> & {
      readonly kind?: StepEvent['kind'] | undefined;
    },
  ): StepEvent {
    const event: StepEvent = {
      ...this.span(name),
      kind,
      workflowId: run.id,
      workflowName: run.name,
      epoch: run.owner.epoch,
      stepId,
      attempts: 1,
      outcome: undefined,
    };
    channels.stepStart.publish(event);
    return event;
  }

  stepEnded(event: StepEvent, attempts: number): void {
    event.attempts = attempts;
    event.outcome = outcomeOf(event.error);
    ended(event);
    channels.stepEnd.publish(event);
  }

  stepRetried(
    step: StepEvent | undefined,
    retry: {
      readonly attempt: number;
      readonly error: unknown;
      readonly retryInMs: number;
    },
  ): void {
    if (step && channels.stepRetry.hasSubscribers) channels.stepRetry.publish({ step, ...retry });
  }

  stepReplayed(run: DiagnosedRun, stepId: string, name: string): void {
    if (!channels.stepReplay.hasSubscribers) return;
    const { id: workflowId, name: workflowName, diagnosed } = run;
    channels.stepReplay.publish({
      ...this.origin(),
      run: diagnosed,
      workflowId,
      workflowName,
      stepId,
      name,
    } satisfies DiagnosticsEvents['step.replay']);
  }

  recovered(
    deadExecutorIds: readonly string[],
    workflows: ReadonlyArray<{ readonly id: string; readonly name: string }>,
  ): void {
    if (!channels.recovery.hasSubscribers) return;
    const event: DiagnosticsEvents['workflow.recovery'] = {
      ...this.origin(),
      deadExecutorIds,
      workflows,
    };
    channels.recovery.publish(event);
  }

  private origin() {
    const { identity, version } = this.parts;
    return { engineId: this.engineId, executorId: identity.id, applicationVersion: version.own };
  }

  private span(name: string): DiagnosticsSpan {
    return {
      ...this.origin(),
      name,
      startedAt: performance.now(),
      durationMs: undefined,
      error: undefined,
      around: undefined,
    };
  }
}

/** Runs the body of what an event tells of. */
export function within<T>(event: DiagnosticsSpan | undefined, work: () => T): T {
  return event?.around ? event.around(work) : work();
}

export function failed(event: DiagnosticsSpan | undefined, error: unknown): void {
  if (event) event.error = error;
}

function ended(event: DiagnosticsSpan): void {
  event.durationMs = performance.now() - event.startedAt;
}

function outcomeOf(error: unknown): StepEvent['outcome'] {
  if (error === undefined) return 'succeeded';
  const isCutOff = error instanceof RunInterruptedError || error instanceof BranchClosedError;
  return isCutOff ? 'interrupted' : 'failed';
}
