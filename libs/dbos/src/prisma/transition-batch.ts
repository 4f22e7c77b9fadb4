/** What many runs write at once, as one call of `dbos.write_transitions`. */
import { RowRefusedError } from '../core/errors.js';
import type { Owner } from '../core/owner.js';
import type { NewEvent, NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { Statement } from './database.js';
import type { PrismaStatements } from './prisma-client.js';
import { runKey, type AnswerRow, type Transition } from './transition.js';

/** The rows of one statement, as JSON. */
interface Batch {
  readonly runs: string;
  readonly steps: string;
  readonly settlements: string;
  /** What few transitions bring with them. */
  readonly extras: string | null;
}

/** @throws RowRefusedError for a step without an outcome */
export function transitionBatch(transitions: readonly Transition[]): Statement<AnswerRow> {
  const batch = batchOf(transitions);
  return (client) => sendBatch(client, batch);
}

function batchOf(transitions: readonly Transition[]): Batch {
  const runs = new Map<string, unknown>();
  const steps: unknown[] = [];
  const settlements: unknown[] = [];
  for (const transition of transitions) {
    const { owner } = transition;
    runs.set(runKey(owner), ownerRow(owner));
    if ('step' in transition) steps.push(stepRow(owner, transition.step));
    else settlements.push(settlementRow(owner, transition.settlement));
  }
  return {
    runs: JSON.stringify([...runs.values()]),
    steps: JSON.stringify(steps),
    settlements: JSON.stringify(settlements),
    extras: extrasOf(transitions),
  };
}

/** Events; topics that parked runs wait for; from where on messages of runs that are tried again come anew. */
function extrasOf(transitions: readonly Transition[]): string | null {
  const events: unknown[] = [];
  const parked: unknown[] = [];
  const retried: unknown[] = [];
  for (const transition of transitions) {
    const run = { workflow_id: transition.owner.workflowId, epoch: transition.owner.epoch };
    if ('step' in transition) {
      const { stepId, event } = transition.step;
      if (event) events.push({ ...run, place: events.length, ...eventRow(stepId, event) });
    } else if (transition.settlement.status === 'DELAYED') {
      const { settlement } = transition;
      if ('retryFrom' in settlement) retried.push({ ...run, retry_from: settlement.retryFrom });
      else if (settlement.topics) parked.push({ ...run, topics: settlement.topics });
    }
  }
  const extras = { events, parked, retried };
  return Object.values(extras).some((rows) => rows.length > 0) ? JSON.stringify(extras) : null;
}

function eventRow(stepId: string, { key, value }: NewEvent): Record<string, unknown> {
  return { step_id: stepId, key, serialization: value.format, value: value.text };
}

/** Fenced: writes for those runs only that still own their workflows (see the function in the migrations). */
function sendBatch(client: PrismaStatements, batch: Batch): PromiseLike<AnswerRow[]> {
  return client.$queryRaw`
    SELECT workflow_id AS "workflowId", epoch, step_id AS "stepId"
      FROM dbos.write_transitions(${batch.runs}::json, ${batch.steps}::json, ${batch.settlements}::json,
                                  ${batch.extras}::json)`;
}

function ownerRow({ workflowId, executorId, epoch }: Owner): Record<string, unknown> {
  return { id: workflowId, executor_id: executorId, epoch };
}

function stepRow({ workflowId, epoch }: Owner, step: NewStep): Record<string, unknown> {
  const value = step.output ?? step.error;
  if (!value) throw new RowRefusedError(`Step "${step.name}" has neither an output nor an error.`);
  return {
    workflow_id: workflowId,
    epoch,
    step_id: step.stepId,
    name: step.name,
    serialization: value.format,
    output: step.output?.text,
    error: step.error?.text,
    child_workflow_id: step.childWorkflowId,
    attempts: step.attempts,
    duration_ms: step.durationMs,
  };
}

function settlementRow(
  { workflowId, epoch }: Owner,
  settlement: Settlement,
): Record<string, unknown> {
  const output = 'output' in settlement ? settlement.output : undefined;
  const error = 'error' in settlement ? settlement.error : undefined;
  return {
    workflow_id: workflowId,
    epoch,
    status: settlement.status,
    serialization: (output ?? error)?.format,
    output: output?.text,
    error: error?.text,
    wake_at: 'wakeAt' in settlement ? settlement.wakeAt : undefined,
    retry_from: 'retryFrom' in settlement ? settlement.retryFrom : undefined,
  };
}
