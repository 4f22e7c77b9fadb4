/** One durable thing that a run does, and what the database answers to it. */
import type { Owner } from '../core/owner.js';
import type { NewStep } from '../repository/step-repository.js';
import type { Settlement } from '../repository/workflow-repository.js';

export type Transition =
  | { readonly owner: Owner; readonly step: NewStep }
  | { readonly owner: Owner; readonly settlement: Settlement };

/** A run that did not own its workflow any more (`stepId` null), or a step that another run has recorded in its place. */
export interface AnswerRow {
  workflowId: string;
  stepId: string | null;
  epoch: number;
}

/** Tells the runs of one workflow apart: a later one must not vouch for an earlier one. */
export function runKey({ workflowId, epoch }: Pick<Owner, 'workflowId' | 'epoch'>): string {
  return `${workflowId}\n${epoch}`;
}
