/** Starts workflows: one id is one execution, and `start` resolves only once it is durable. */
import {
  EngineNotRunningError,
  InvalidArgumentError,
  WorkflowIdConflictError,
} from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { TransactionalOptions } from '../core/open-transaction.js';
import type { Placement } from '../core/queue.js';
import { begun, timeLimitOf, type TimeLimitOptions } from '../core/time-limit.js';
import { childId, newWorkflowId } from '../core/workflow-ids.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type {
  CarriedContext,
  NewWorkflow,
  StartedWorkflow,
} from '../repository/workflow-repository.js';
import type { ApplicationVersion } from './application-version.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { ContextCarriers } from './context-carriers.js';
import type { DatabaseTime } from './database-time.js';
import type { Diagnostics } from './diagnostics.js';
import type { CallEvent } from './diagnostics-events.js';
import type { Executor } from './executor.js';
import type { ExecutorIdentity } from './executor-identity.js';
import type { Lifecycle } from './lifecycle.js';
import type { OutcomeCodec } from './outcome.js';
import type { Patience } from './patience.js';
import { titleOf, validatedArguments, type WorkflowDefinition } from './registry.js';
import type { RunScope } from './run-scope.js';
import type { Slots } from './slots.js';

export interface StartOptions extends TimeLimitOptions, TransactionalOptions {
  /** The idempotency key: the same id again attaches to the first execution. Default: a UUID of version 7. */
  readonly workflowId?: string;
  /** Which version of the workflow, where several are registered (`@Workflow({ version })`). Default: the newest. */
  readonly version?: number;
  /** A JSON object to find the workflow by later, kept as `JSON.stringify` makes it. Not inherited by children. */
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/** The workflow that starts another, which inherits its deadline and what it carries. */
export interface Parent {
  readonly id: string;
  readonly deadline: Date | undefined;
  readonly context: CarriedContext | undefined;
}

/** What is to be started. */
export interface StartCall {
  readonly definition: WorkflowDefinition;
  readonly args: readonly unknown[];
  readonly options: StartOptions;
}

export interface StarterParts {
  readonly identity: ExecutorIdentity;
  /** Whether this process may become the owner of a workflow now. */
  readonly mayOwn: () => boolean;
  readonly version: ApplicationVersion;
  readonly repository: CheckpointRepository;
  readonly executor: Executor;
  readonly codec: OutcomeCodec;
  readonly carriers: ContextCarriers;
  readonly slots: Slots;
  readonly patience: Patience;
  readonly lifecycle: Lifecycle;
  readonly diagnostics: Diagnostics;
  readonly time: DatabaseTime;
  readonly onEnqueued: () => void;
  /** There is a workflow with a deadline. */
  readonly onDeadline: (deadline: Date) => void;
  /** The database shows a workflow as ours that does not run here. */
  readonly onStray: () => void;
}

export class Starter {
  private readonly underWay = new Map<string, Promise<StartedWorkflow>>();
  private accepting = false;

  constructor(private readonly parts: StarterParts) {}

  open(): void {
    this.accepting = true;
  }

  /** From now on nothing is started; what is under way is finished. */
  close(): void {
    this.accepting = false;
  }

  /** Resolves when every start that is under way has been answered. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.underWay.values());
  }

  /** Ids that are being started and may already be owned by this executor. */
  get starting(): Iterable<string> {
    return this.underWay.keys();
  }

  /**
   * Resolves with the id once the workflow is durable, whoever started it.
   * @throws WorkflowIdConflictError when the id belongs to a workflow of another name
   * @throws UnserializableValueError when an argument cannot be kept, ValidationError when its schema refuses it
   * @throws DatabaseUnavailableError when the database does not answer in time; start again with the same id
   * @throws EngineNotRunningError before the launch and after the shutdown
   */
  start(call: StartCall, parent?: Parent): Promise<string> {
    const { name } = call.definition;
    return this.parts.diagnostics.call({ kind: 'start', name }, (event) =>
      this.startHeard(call, parent, event),
    );
  }

  private async startHeard(
    call: StartCall,
    parent: Parent | undefined,
    event: CallEvent | undefined,
  ): Promise<string> {
    const checked = checkedCall(call);
    // Where there is no schema nothing is awaited before the id is known to be under way.
    const workflow = this.compose(checked ? await checked : call, parent, event);
    const { id, name } = workflow;
    const standing = await this.begin(begun(workflow, this.parts.time.nowMs()));
    if (titleOf(standing.name) !== titleOf(name))
      throw new WorkflowIdConflictError(id, standing.name, name);
    return id;
  }

  /**
   * The row to be written, checked and encoded. It names every field, for rows of one shape are read at a fraction of what
   * others cost.
   * @param event what those who watch were told of the call
   * @throws InvalidArgumentError, UnserializableValueError, ContextCaptureError, EngineNotRunningError
   */
  compose(
    call: StartCall,
    parent: Parent | undefined,
    event: CallEvent | undefined,
    placement: Placement,
  ): NewWorkflow & Placement;
  compose(call: StartCall, parent?: Parent, event?: CallEvent): NewWorkflow;
  compose(
    { definition, args, options }: StartCall,
    parent?: Parent,
    event?: CallEvent,
    placement?: Placement,
  ): NewWorkflow {
    const id =
      options.workflowId === undefined // null is a mistake, and no id
        ? newWorkflowId()
        : assertIdentifier('A workflow id', options.workflowId);
    const input = this.parts.codec.serializers.encode([...args], `arguments of ${definition.name}`);
    if (!this.accepting) {
      throw new EngineNotRunningError(
        `"${definition.name}" cannot be started: the engine is not running. Start workflows after the application's ` +
          'bootstrap and before its shutdown.',
      );
    }
    if (event?.count === 1) event.workflowId = id;
    const limit = timeLimitOf(options, parent?.deadline);
    return {
      id,
      name: definition.name,
      input,
      executorId: undefined,
      parentId: parent?.id,
      applicationVersion: this.parts.version.own,
      attributes: options.attributes === undefined ? undefined : jsonAttributes(options.attributes),
      context: this.parts.carriers.capture(parent?.context),
      carried: event?.carried,
      timeoutMs: limit.timeoutMs,
      deadline: limit.deadline,
      queue: placement?.queue,
      priority: placement?.priority,
      partitionKey: placement?.partitionKey,
      deduplicationId: placement?.deduplicationId,
      delayMs: placement?.delayMs,
      runAt: placement?.runAt,
    };
  }

  /**
   * Starts a child as an operation of the workflow that calls. The child's id derives from the step, so that a replay
   * attaches to the same child.
   */
  startChild(scope: RunScope, call: StartCall, takenId?: string): Promise<string> {
    const produce = async (stepId: string, report: OperationReport): Promise<string> => {
      const workflowId = call.options.workflowId ?? childId(scope.run.id, stepId);
      report.childWorkflowId = workflowId;
      return this.start({ ...call, options: { ...call.options, workflowId } }, scope.run);
    };
    return checkpoint(scope, { name: call.definition.title, produce }, takenId);
  }

  /** Writes what does not wait on a queue as our own, if there is room. Two starts of one id share one statement. */
  begin(workflow: NewWorkflow): Promise<StartedWorkflow> {
    const { id } = workflow;
    const underWay = this.underWay.get(id);
    if (underWay) return this.inTime(id, underWay);
    const { slots, identity, mayOwn } = this.parts;
    const runsHere = workflow.queue === undefined && mayOwn() && slots.tryTake();
    const written = runsHere ? { ...workflow, executorId: identity.id } : workflow;
    const write = this.write(written).finally(() => this.underWay.delete(id));
    this.underWay.set(id, write);
    return this.inTime(id, write);
  }

  private async write(workflow: NewWorkflow): Promise<StartedWorkflow> {
    const { repository, executor, slots, identity, onEnqueued, onStray } = this.parts;
    const { executorId } = workflow;
    const owned = executorId !== undefined;
    let started: StartedWorkflow;
    try {
      started = await repository.workflows.start(workflow);
    } catch (error) {
      if (owned) slots.give();
      throw error;
    }
    if (started.created && owned && this.accepting) {
      const { id, name, input, carried, deadline = null, context = null } = workflow;
      const fresh = {
        epoch: started.epoch,
        recoveryAttempts: 0,
        failures: 0,
        queue: null,
        carried,
      };
      executor.execute({ id, name, input, executorId, deadline, context, ...fresh }, []);
    } else if (owned) {
      slots.give(); // another's, or ours after the shutdown: it is handed back with the rest
    } else if (started.created && workflow.queue === undefined) {
      onEnqueued();
    }
    if (started.created && workflow.deadline) this.parts.onDeadline(workflow.deadline);
    if (started.created && !owned) this.parts.lifecycle.enqueued(workflow);
    const isOurs = started.status === 'PENDING' && started.executorId === identity.id;
    if (isOurs && !started.created && !executor.isRunning(workflow.id)) onStray();
    return started;
  }

  /** The caller may give up; the start itself goes on and is found by the next one with the same id. */
  private inTime(id: string, started: Promise<StartedWorkflow>): Promise<StartedWorkflow> {
    const whatThen = 'It may still start; start it again with the same id to find out.';
    return this.parts.patience.with(started, `The start of workflow "${id}"`, whatThen);
  }
}

/**
 * With the arguments as the schemas of the workflow make them; undefined for one without.
 * @throws ValidationError
 */
export function checkedCall<C extends Pick<StartCall, 'definition' | 'args'>>(
  call: C,
): Promise<C> | undefined {
  if (call.definition.input.length === 0) return undefined;
  return validatedArguments(call.definition, call.args).then((args) => ({ ...call, args }));
}

/** @throws InvalidArgumentError */
export function jsonAttributes(
  attributes: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const isPlain =
    typeof attributes === 'object' && attributes !== null && !Array.isArray(attributes);
  if (!isPlain) throw new InvalidArgumentError('attributes must be a JSON object.');
  const text = jsonOf(attributes);
  // JSONB cannot hold a NUL (PostgreSQL manual, "JSON Types"); payloads are TEXT and can.
  if (text.includes('\\u0000'))
    throw new InvalidArgumentError('attributes must not contain the character U+0000.');
  return JSON.parse(text) as Record<string, unknown>;
}

function jsonOf(attributes: object): string {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(attributes) as string | undefined; // nothing, where a toJSON() says so
  } catch (error) {
    cause = error;
  }
  if (text?.startsWith('{')) return text;
  throw new InvalidArgumentError(
    'attributes must be a JSON object: without bigints, circles, and a toJSON() of its own.',
    { cause },
  );
}
