/** What is done to workflows from outside: cancelled, resumed, deleted; and what was done to them. */
import { assertIdentifier } from '../core/identifiers.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type {
  ActionRecord,
  EndedWorkflow,
  VersionFilter,
} from '../repository/control-repository.js';
import {
  askedBy,
  type ActionOptions,
  checkedIds,
  familyOf,
  placeOn,
  versionTarget,
  type FamilyOptions,
  type ResumeOptions,
  type WorkflowIds,
} from './control-options.js';
import type { Dispatcher } from './dispatcher.js';
import type { Interruptions } from './interruptions.js';
import type { QueueRegistry } from './queue-registry.js';
import type { RunScopes } from './run-scope.js';
import type { StatusWatch } from './status-reader.js';

export interface ControlParts {
  readonly repository: Pick<CheckpointRepository, 'control' | 'completions'>;
  readonly queues: QueueRegistry;
  readonly scopes: RunScopes;
  readonly dispatcher: Dispatcher;
  readonly interruptions: Interruptions;
  readonly statuses: StatusWatch;
  /** In a workflow a checkpointed operation; elsewhere as patient as callers are. */
  readonly operation: <T>(name: string, work: () => Promise<T>) => Promise<T>;
}

/** Most entries of the record of one workflow that are told. */
const MAX_ACTIONS = 1_000;

export class Control {
  constructor(private readonly parts: ControlParts) {}

  /** Ends workflows that have no outcome yet as CANCELLED; returns the ids it changed. */
  async cancel(workflowIds: WorkflowIds, options: FamilyOptions = {}): Promise<string[]> {
    this.parts.scopes.outsideSteps('Cancelling a workflow');
    const [ids, family] = [checkedIds(workflowIds), familyOf(options)];
    const { repository, interruptions, operation } = this.parts;
    return operation('workflows.cancel', async () => {
      const ended = await repository.control.cancel(ids, family);
      interruptions.cancelled(ended, 'requested');
      return this.told(ended);
    });
  }

  /** Sends workflows that neither succeeded nor failed back to the queue with a fresh budget of recoveries. */
  async resume(workflowIds: WorkflowIds, options: ResumeOptions = {}): Promise<string[]> {
    this.parts.scopes.outsideSteps('Resuming a workflow');
    const [ids, asked] = [checkedIds(workflowIds), askedBy(options)];
    const place = placeOn(this.parts.queues, options);
    const { repository, dispatcher, statuses, operation } = this.parts;
    return operation('workflows.resume', async () => {
      const resumed = await repository.control.resume(ids, place, asked);
      if (resumed.length > 0) dispatcher.stirred();
      for (const id of resumed) statuses.changed(id);
      return resumed;
    });
  }

  /** Removes workflows with everything of theirs; returns the ids of those that there were. */
  async delete(workflowIds: WorkflowIds, options: FamilyOptions = {}): Promise<string[]> {
    this.parts.scopes.outsideSteps('Deleting a workflow');
    const [ids, family] = [checkedIds(workflowIds), familyOf(options)];
    const { repository, interruptions, operation } = this.parts;
    return operation('workflows.delete', async () => {
      const ended = await repository.control.delete(ids, family);
      await repository.completions.forget(ended.map(({ id }) => id));
      interruptions.deleted(ended);
      return this.told(ended);
    });
  }

  /** Moves workflows that nobody owns, and that have no outcome, to another version; returns the ids that it moved. */
  async setVersion(
    target: WorkflowIds | VersionFilter,
    version: string,
    options: ActionOptions = {},
  ): Promise<string[]> {
    this.parts.scopes.outsideSteps('Moving a workflow to another version');
    const [checked, asked] = [versionTarget(target), askedBy(options)];
    assertIdentifier('A version', version);
    const { repository, dispatcher, operation } = this.parts;
    return operation('workflows.setVersion', async () => {
      const moved = await repository.control.setVersion(checked, version, asked);
      if (moved.length > 0) dispatcher.stirred();
      return moved;
    });
  }

  /** What was done to a workflow, in order; also after it was deleted. */
  async actions(workflowId: string): Promise<ActionRecord[]> {
    const id = assertIdentifier('A workflow id', workflowId);
    const { repository, operation } = this.parts;
    return operation('workflows.actions', () => repository.control.actions(id, MAX_ACTIONS));
  }

  /** Others may have waited for their ends. */
  private told(ended: readonly EndedWorkflow[]): string[] {
    if (ended.length > 0) this.parts.dispatcher.stirred();
    return ended.map(({ id }) => id);
  }
}
