/** Puts workflows on queues: durable when it resolves, and claimed later by whoever has room. */
import { InvalidArgumentError, WorkflowIdConflictError } from '../core/errors.js';
import { DeduplicatedError } from '../core/queue-errors.js';
import {
  placementOn,
  type EnqueueOptions,
  type Placement,
  type QueueDefinition,
} from '../core/queue.js';
import { childId } from '../core/workflow-ids.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { NewWorkflow, StartedWorkflow } from '../repository/workflow-repository.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Diagnostics } from './diagnostics.js';
import type { CallEvent } from './diagnostics-events.js';
import type { Lifecycle } from './lifecycle.js';
import type { Patience } from './patience.js';
import type { WorkflowDefinition } from './registry.js';
import type { RunScope } from './run-scope.js';
import { checkedCall, type Parent, type Starter } from './starter.js';
import { givenList, givenOptions } from '../core/given.js';

/** What is to be enqueued, and where. */
export interface EnqueueCall {
  readonly definition: WorkflowDefinition;
  readonly queue: QueueDefinition;
  readonly args: readonly unknown[];
  readonly options: EnqueueOptions;
}

/** One of many. */
export interface EnqueueItem extends Omit<EnqueueOptions, 'tx'> {
  readonly args: readonly unknown[];
}

export interface EnqueueManyCall {
  readonly definition: WorkflowDefinition;
  readonly queue: QueueDefinition;
  readonly items: readonly EnqueueItem[];
}

export interface EnqueuerParts {
  readonly repository: CheckpointRepository;
  readonly starter: Starter;
  readonly patience: Patience;
  readonly lifecycle: Lifecycle;
  readonly diagnostics: Diagnostics;
  /** Something waits on a queue, to be claimed at once or after a delay. */
  readonly onEnqueued: (queue: string, delayMs?: number) => void;
}

/** Most workflows of one `enqueueMany`: bounds the statement. */
export const MAX_ENQUEUED_AT_ONCE = 10_000;
/** How often it is tried to replace one that waits while others come and go under the same deduplication id. */
const MAX_REPLACEMENTS = 10;

export type PlacedWorkflow = NewWorkflow & Placement;

/** Writes workflows that wait on queues. */
export interface PlacementWriter {
  /** Writes it unless its place is taken; either way says what stands there. */
  begin(workflow: PlacedWorkflow): Promise<StartedWorkflow>;
  /** Puts it in the place of one that waits; false when that one waits no more. */
  replace(workflowId: string, workflow: PlacedWorkflow): Promise<boolean>;
}

export class Enqueuer implements PlacementWriter {
  constructor(private readonly parts: EnqueuerParts) {}

  /**
   * Resolves with the id once the workflow is durable: its own, or that of the one it was attached to.
   * @throws DeduplicatedError, WorkflowIdConflictError, InvalidArgumentError, UnserializableValueError,
   *   DatabaseUnavailableError, EngineNotRunningError
   */
  enqueue(call: EnqueueCall, parent?: Parent): Promise<string> {
    return this.enqueueThrough(this, call, parent);
  }

  /** The same, with the rows written elsewhere than by this. */
  enqueueThrough(writer: PlacementWriter, call: EnqueueCall, parent?: Parent): Promise<string> {
    const { diagnostics } = this.parts;
    return diagnostics.call(callOf(call), async (event) => {
      const checked = checkedCall(call);
      const workflow = this.placed(checked ? await checked : call, parent, event);
      return this.place(writer, call, workflow);
    });
  }

  private async place(
    writer: PlacementWriter,
    call: EnqueueCall,
    workflow: PlacedWorkflow,
  ): Promise<string> {
    const { deduplication = 'reject' } = call.options;
    for (let attempt = 0; ; attempt += 1) {
      const standing = await writer.begin(workflow);
      if (standing.id === workflow.id) {
        assertSameName(standing, workflow);
        return workflow.id;
      }
      if (deduplication === 'attach' && standing.name === workflow.name) return standing.id;
      const mayReplace = deduplication === 'replace' && attempt < MAX_REPLACEMENTS;
      if (!mayReplace || isBegun(standing)) throw deduplicated(workflow, standing);
      if (await writer.replace(standing.id, workflow)) return standing.id;
    }
  }

  async begin(workflow: PlacedWorkflow): Promise<StartedWorkflow> {
    const standing = await this.parts.starter.begin(workflow);
    if (standing.id === workflow.id && standing.name === workflow.name) this.announce(workflow);
    return standing;
  }

  /** Enqueues a child as an operation of the workflow that calls; a replay finds the same child. */
  enqueueChild(scope: RunScope, call: EnqueueCall): Promise<string> {
    const produce = async (stepId: string, report: OperationReport): Promise<string> => {
      const workflowId = call.options.workflowId ?? childId(scope.run.id, stepId);
      const options = { ...call.options, workflowId };
      const id = await this.enqueue({ ...call, options }, scope.run);
      report.childWorkflowId = id;
      return id;
    };
    return checkpoint(scope, { name: call.definition.title, produce });
  }

  /** All or none, in one statement. Ids that exist already are attached to. */
  enqueueMany(
    definition: WorkflowDefinition,
    queue: QueueDefinition,
    items: readonly EnqueueItem[],
  ): Promise<string[]> {
    return this.enqueueManyThrough((workflows) => this.beginMany(queue, workflows), {
      definition,
      queue,
      items,
    });
  }

  /** The same, with the rows written elsewhere than by this. */
  async enqueueManyThrough(
    begin: (workflows: readonly PlacedWorkflow[]) => Promise<StartedWorkflow[]>,
    { definition, queue, items }: EnqueueManyCall,
  ): Promise<string[]> {
    givenList('What is enqueued', items);
    if (items.length > MAX_ENQUEUED_AT_ONCE) {
      throw new InvalidArgumentError(
        `At most ${MAX_ENQUEUED_AT_ONCE} workflows can be enqueued at once, not ${items.length}. Enqueue them in parts.`,
      );
    }
    if (items.length === 0) return [];
    const calls = Array.from(items, (item) => {
      const options = givenOptions('Each of what is enqueued', item);
      return { definition, queue, args: givenList('args', options.args), options };
    });
    const call = { ...callOf({ definition, queue }), count: items.length };
    return this.parts.diagnostics.call(call, async (event) => {
      const checks = calls.flatMap((each) => checkedCall(each) ?? []); // none, or one for each
      const checked = checks.length > 0 ? await Promise.all(checks) : calls;
      const workflows = checked.map((each) => this.placed(each, undefined, event));
      assertDistinct(workflows);
      const standing = await begin(workflows);
      return standing.map((started, index) => this.idOf(started, workflows[index], items[index]));
    });
  }

  private async beginMany(
    { name }: QueueDefinition,
    workflows: readonly PlacedWorkflow[],
  ): Promise<StartedWorkflow[]> {
    const { repository, patience, lifecycle } = this.parts;
    const standing = await patience.with(
      repository.workflows.startMany(workflows),
      `Enqueuing ${workflows.length} workflows on "${name}"`,
      'They may be there; use ids of your own to find out.',
    );
    workflows.forEach((workflow) => this.announce(workflow));
    for (const started of standing) if (started.created) lifecycle.enqueued(started);
    return standing;
  }

  private idOf(
    standing: StartedWorkflow,
    workflow: PlacedWorkflow | undefined,
    item: EnqueueItem | undefined,
  ): string {
    if (!workflow || standing.id === workflow.id) {
      if (workflow) assertSameName(standing, workflow);
      return standing.id;
    }
    if (item?.deduplication === 'attach' && standing.name === workflow.name) return standing.id;
    throw deduplicated(workflow, standing);
  }

  private placed(
    { definition, queue, args, options }: EnqueueCall,
    parent: Parent | undefined,
    event: CallEvent | undefined,
  ): PlacedWorkflow {
    const placement = placementOn(queue, options);
    return this.parts.starter.compose({ definition, args, options }, parent, event, placement);
  }

  async replace(workflowId: string, workflow: PlacedWorkflow): Promise<boolean> {
    const { repository, patience } = this.parts;
    const replaced = repository.queues.replaceWaiting({ ...workflow, workflowId });
    const done = await patience.with(replaced, `Replacing workflow "${workflowId}"`, 'Try again.');
    if (done) this.announce(workflow);
    return done;
  }

  private announce({ queue, delayMs, runAt }: Placement): void {
    const delay = runAt ? Math.max(0, runAt.getTime() - Date.now()) : delayMs;
    this.parts.onEnqueued(queue, delay);
  }
}

function callOf({ definition, queue }: Pick<EnqueueCall, 'definition' | 'queue'>) {
  return { kind: 'enqueue', name: definition.name, queue: queue.name } as const;
}

function isBegun({ status, epoch }: StartedWorkflow): boolean {
  return epoch > 0 || (status !== 'ENQUEUED' && status !== 'DELAYED');
}

function assertSameName(standing: StartedWorkflow, { id, name }: NewWorkflow): void {
  if (standing.name !== name) throw new WorkflowIdConflictError(id, standing.name, name);
}

function deduplicated(workflow: PlacedWorkflow, standing: StartedWorkflow): DeduplicatedError {
  const { queue, deduplicationId = '' } = workflow;
  return new DeduplicatedError(queue, deduplicationId, standing.id, standing.status);
}

/** Two rows of one statement cannot stand in for each other. */
function assertDistinct(workflows: readonly PlacedWorkflow[]): void {
  const given = {
    id: workflows.map(({ id }) => id),
    deduplicationId: workflows.flatMap(({ deduplicationId }) => deduplicationId ?? []),
  };
  for (const [field, values] of Object.entries(given)) {
    if (new Set(values).size === values.length) continue;
    const twice = values.find((value, index) => values.indexOf(value) < index);
    throw new InvalidArgumentError(`enqueueMany: "${twice}" is given twice as ${field}.`);
  }
}
