/** What one run alone writes, a checkpoint or its end or both, as one call of `dbos.write_transitions_of_one`. */
import type { Owner } from '../core/owner.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';
import type { Statement } from './database.js';
import { runKey, type AnswerRow, type Transition } from './transition.js';

/** An end that changes nothing but the row of the workflow. */
interface End {
  readonly status: 'SUCCESS' | 'ERROR';
  readonly output?: EncodedValue;
  readonly error?: EncodedValue;
}

/** Undefined for anything else, which is left to `transitionBatch`. */
export function loneTransition(
  transitions: readonly Transition[],
): Statement<AnswerRow> | undefined {
  const [first, second] = transitions;
  if (!first || transitions.length > 2) return undefined;
  if ('settlement' in first) return second ? undefined : statement(first.owner, undefined, first);
  if (first.step.event) return undefined;
  if (second && !('settlement' in second && runKey(first.owner) === runKey(second.owner)))
    return undefined;
  return statement(first.owner, first.step, second);
}

function statement(
  { workflowId, executorId, epoch }: Owner,
  step: NewStep | undefined,
  last: Extract<Transition, { readonly settlement: Settlement }> | undefined,
): Statement<AnswerRow> | undefined {
  const value = step && (step.output ?? step.error);
  const end = last && endOf(last.settlement);
  if ((step && !value) || (last && !end)) return undefined;
  return (client) => client.$queryRaw`
    SELECT workflow_id AS "workflowId", epoch, step_id AS "stepId"
      FROM dbos.write_transitions_of_one(
             ${workflowId}::text, ${executorId}::text, ${epoch}::integer,
             ${step?.stepId ?? null}::text, ${step?.name ?? null}::text, ${value?.format ?? null}::text,
             ${step?.output?.text ?? null}::text, ${step?.error?.text ?? null}::text,
             ${step?.childWorkflowId ?? null}::text, ${step?.attempts ?? null}::integer,
             ${step?.durationMs ?? null}::float8,
             ${end?.status ?? null}::text, ${(end?.output ?? end?.error)?.format ?? null}::text,
             ${end?.output?.text ?? null}::text, ${end?.error?.text ?? null}::text)`;
}

function endOf(settlement: Settlement): End | undefined {
  const { status } = settlement;
  if (status === 'SUCCESS') return settlement;
  return status === 'ERROR' ? { status, error: settlement.error } : undefined;
}
