/** Debounced starts: of many calls within a period one run remains, with the input of the last. */
import { InvalidArgumentError, OwnershipLostError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { TimeLimitOptions } from '../core/time-limit.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Debounce } from '../repository/queue-repository.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Dispatcher } from './dispatcher.js';
import type { Patience } from './patience.js';
import type { QueueRegistry } from './queue-registry.js';
import type { WorkflowRegistry } from './registry.js';
import type { RunScope, RunScopes } from './run-scope.js';
import { childId } from '../core/workflow-ids.js';
import { checkedCall, type StartOptions, type Starter } from './starter.js';
import { shown } from '../core/shown.js';

/** The limits of time are those of the last call: a timeout counts from the claim of what was put off. */
export interface DebounceOptions extends TimeLimitOptions {
  /** Calls of one workflow under one key are put together. */
  readonly key: string;
  /** The workflow starts this long after the last call. */
  readonly periodMs: number;
  /** It starts this long after the first call at the latest. Default: only when the calls cease. */
  readonly maxWaitMs?: number;
  /** The queue on which it waits once its time has come; it must not be partitioned. Default: none. */
  readonly queue?: string;
  /** A JSON object to find the workflow by later; that of the last call counts. */
  readonly attributes?: Readonly<Record<string, unknown>>;
}

export interface DebouncerParts {
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly scopes: RunScopes;
  readonly starter: Starter;
  readonly patience: Patience;
  readonly dispatcher: Dispatcher;
  /** There is a workflow with a deadline. */
  readonly onDeadline: (deadline: Date) => void;
}

export class Debouncer {
  constructor(private readonly parts: DebouncerParts) {}

  /** Resolves with the id of the workflow that is being put off. Inside a workflow a checkpointed operation. */
  async debounce(
    name: string,
    args: readonly unknown[],
    options: DebounceOptions,
  ): Promise<string> {
    const { registry, scopes, starter, repository, patience } = this.parts;
    const definition = registry.newest(name);
    const scope = scopes.outsideSteps('Debouncing a workflow');
    const place = this.checked(options);
    const call = { definition, args, options: pick(options) };
    if (scope) {
      const compose = async (workflowId: string): Promise<Debounce> => {
        const named = { ...call, options: { ...call.options, workflowId } };
        return {
          ...place,
          workflow: starter.compose((await checkedCall(named)) ?? named, {
            id: scope.run.id,
            deadline: undefined, // others may call under the same key
            context: scope.run.context,
          }),
        };
      };
      return this.debounceInWorkflow(scope, name, compose);
    }
    const workflow = starter.compose((await checkedCall(call)) ?? call);
    const debounced = repository.queues.debounce({ ...place, workflow });
    const whatThen = 'It may have been put off; call again to put it off once more.';
    const id = await patience.with(debounced, `Debouncing "${name}"`, whatThen);
    this.announce({ ...place, workflow });
    return id;
  }

  /**
   * The bounce and its checkpoint are one commit, so that a crash between them cannot start the workflow twice. The
   * record that follows finds its own row in place.
   */
  private debounceInWorkflow(
    scope: RunScope,
    name: string,
    compose: (workflowId: string) => Promise<Debounce>,
  ): Promise<string> {
    const { run } = scope;
    const produce = async (stepId: string, report: OperationReport): Promise<string> => {
      const bounce = await compose(childId(run.id, stepId));
      const step = { owner: run.owner, stepId, name: `debounce ${name}` };
      const id = await this.parts.repository.queues.debounceInWorkflow(bounce, step);
      if (id === undefined) throw run.interrupt(new OwnershipLostError(run.id));
      report.childWorkflowId = id;
      this.announce(bounce);
      return id;
    };
    return checkpoint(scope, { name: `debounce ${name}`, produce });
  }

  private checked(options: DebounceOptions): Omit<Debounce, 'workflow'> {
    const { key, periodMs, maxWaitMs, queue } = options;
    for (const [option, value] of Object.entries({ periodMs, maxWaitMs })) {
      if (value === undefined && option === 'maxWaitMs') continue;
      if (typeof value === 'number' && Number.isFinite(value) && value >= 0) continue;
      throw new InvalidArgumentError(
        `Debouncing: ${option} must be a finite number of at least 0, not ${shown(value)}.`,
      );
    }
    if (queue !== undefined && this.parts.queues.get(queue).limits.partition) {
      throw new InvalidArgumentError(
        `Debouncing: queue "${queue}" is partitioned, and a debounced workflow has no partition.`,
      );
    }
    return {
      key: assertIdentifier('A debounce key', key),
      periodMs,
      ...(maxWaitMs !== undefined && { maxWaitMs }),
      ...(queue !== undefined && { queue }),
    };
  }

  private announce({ queue, periodMs, workflow }: Debounce): void {
    this.parts.dispatcher.offered(queue, periodMs);
    if (workflow.deadline) this.parts.onDeadline(workflow.deadline);
  }
}

function pick(options: DebounceOptions): Pick<StartOptions, 'attributes' | 'timeout' | 'deadline'> {
  const { attributes, timeout, deadline } = options;
  return {
    ...(attributes !== undefined && { attributes }),
    ...(timeout !== undefined && { timeout }),
    ...(deadline !== undefined && { deadline }),
  };
}
