/** Forks: new workflows that begin where others stood at a step, with what those had recorded before it. */
import { StepNotFoundError } from '../core/control-errors.js';
import {
  InvalidArgumentError,
  WorkflowIdConflictError,
  WorkflowNotFoundError,
} from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { timeLimitOf, type TimeLimit } from '../core/time-limit.js';
import { childId, newWorkflowId } from '../core/workflow-ids.js';
import type {
  ControlRepository,
  Forking,
  ForkPoint,
  NewFork,
} from '../repository/control-repository.js';
import type { ApplicationVersion } from './application-version.js';
import {
  askedBy,
  checkedIds,
  placeOn,
  type ForkOptions,
  type ForkReport,
  type RestartOptions,
} from './control-options.js';
import type { Dispatcher } from './dispatcher.js';
import type { Lifecycle } from './lifecycle.js';
import type { QueueRegistry } from './queue-registry.js';
import type { RunScopes } from './run-scope.js';

import { shown } from '../core/shown.js';

export interface ForksParts {
  readonly repository: { readonly control: ControlRepository };
  readonly queues: QueueRegistry;
  readonly scopes: RunScopes;
  readonly version: ApplicationVersion;
  readonly dispatcher: Dispatcher;
  readonly lifecycle: Lifecycle;
  /** In a workflow a checkpointed operation; elsewhere as patient as callers are. */
  readonly operation: <T>(name: string, work: (stepId?: string) => Promise<T>) => Promise<T>;
}

/** All of a fork but its origin and its id. */
type Draft = Omit<NewFork, 'originId' | 'id'>;

export class Forks {
  constructor(private readonly parts: ForksParts) {}

  /** @throws WorkflowNotFoundError, StepNotFoundError, WorkflowIdConflictError */
  async fork(originId: string, options: ForkOptions): Promise<string> {
    this.parts.scopes.outsideSteps('Forking a workflow');
    const draft = this.draft(options, 'forked');
    return this.forkOne(originId, options, draft);
  }

  /** As a fork from the very first step. */
  async restart(originId: string, options: RestartOptions): Promise<string> {
    this.parts.scopes.outsideSteps('Restarting a workflow');
    const draft = this.draft({ ...options, from: 0 }, 'restarted');
    return this.forkOne(originId, options, draft);
  }

  /** One statement; tells of those that there were and that have the step. */
  async forkMany(
    originIds: readonly string[],
    options: Omit<ForkOptions, 'workflowId'>,
  ): Promise<ForkReport[]> {
    this.parts.scopes.outsideSteps('Forking workflows');
    const ids = checkedIds(originIds);
    const draft = this.draft(options, 'forked');
    return this.parts.operation('workflows.forkMany', async (stepId) => {
      const forks = ids.map((originId, index) => {
        const place = stepId === undefined ? undefined : `${stepId}-${index}`;
        return { ...draft, originId, id: this.newId(place) };
      });
      const forkings = forks.length === 0 ? [] : await this.begin(forks);
      return forks.flatMap(({ id, originId }, index) =>
        forkings[index]?.result === 'forked' ? [{ workflowId: id, forkedFrom: originId }] : [],
      );
    });
  }

  private forkOne(originId: string, { workflowId }: RestartOptions, draft: Draft): Promise<string> {
    assertIdentifier('A workflow id', originId);
    if (workflowId !== undefined) assertIdentifier('A workflow id', workflowId);
    const name = draft.action === 'forked' ? 'workflows.fork' : 'workflows.restart';
    return this.parts.operation(name, async (stepId) => {
      const fork = { ...draft, originId, id: workflowId ?? this.newId(stepId) };
      const [forking] = await this.begin([fork]);
      assertForked(fork, forking);
      return fork.id;
    });
  }

  /** In a workflow the id derives from the step, so that a replay before the checkpoint finds the same fork. */
  private newId(stepId: string | undefined): string {
    const scope = this.parts.scopes.current;
    return scope && stepId !== undefined ? childId(scope.run.id, stepId) : newWorkflowId();
  }

  private async begin(forks: readonly NewFork[]): Promise<Forking[]> {
    const { repository, dispatcher, lifecycle } = this.parts;
    const forkings = await repository.control.fork(forks);
    forks.forEach(({ id }, index) => {
      const forking = forkings[index];
      if (forking?.result === 'forked') lifecycle.enqueued({ id, name: forking.name });
    });
    if (forkings.some(({ result }) => result === 'forked')) dispatcher.stirred();
    return forkings;
  }

  private draft(options: Omit<ForkOptions, 'workflowId'>, action: NewFork['action']): Draft {
    const { queues, version } = this.parts;
    const { applicationVersion = version.own } = options;
    return {
      from: pointOf(options.from),
      action,
      applicationVersion:
        applicationVersion && assertIdentifier('applicationVersion', applicationVersion),
      place: placeOn(queues, options),
      limit: limitOf(options),
      ...askedBy(options),
    };
  }
}

function limitOf(options: RestartOptions): TimeLimit | undefined {
  const isGiven = options.timeout !== undefined || options.deadline !== undefined;
  return isGiven ? timeLimitOf(options, undefined) : undefined;
}

/** @throws InvalidArgumentError */
function pointOf(from: ForkOptions['from']): ForkPoint {
  if (from === 'failure') return { lastFailure: true };
  if (typeof from === 'object' && from !== null)
    return { stepName: assertIdentifier('The name of a step', from.step) };
  if (Number.isInteger(from) && from >= 0 && from <= MAX_POSITION) return { position: from };
  throw new InvalidArgumentError(
    "A workflow is forked from the position of a step (a whole number from 0), from { step: 'name' } or from 'failure', " +
      `not from ${shown(from)}.`,
  );
}

/** Within an integer of the database. */
const MAX_POSITION = 2_147_483_646;

function assertForked({ originId, id, from }: NewFork, forking: Forking | undefined): void {
  switch (forking?.result) {
    case 'forked':
      return;
    case 'no step':
      throw new StepNotFoundError(originId, 'stepName' in from ? from.stepName : '');
    case 'taken':
      throw new WorkflowIdConflictError(id, forking.name, forking.originName);
    case 'unknown':
    case undefined:
      throw new WorkflowNotFoundError(originId);
    default:
      forking satisfies never;
  }
}
