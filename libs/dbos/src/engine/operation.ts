/** What may be called from anywhere: in a workflow it is checkpointed, elsewhere it is as patient as callers are. */
import { checkpoint } from './checkpoint.js';
import type { Patience } from './patience.js';
import type { RunScopes } from './run-scope.js';

export interface OperationSurroundings {
  readonly scopes: RunScopes;
  readonly patience: Patience;
}

/** @param work gets its step id in a workflow, the same on every replay */
export function operation<T>(
  { scopes, patience }: OperationSurroundings,
  name: string,
  work: (stepId?: string) => Promise<T>,
): Promise<T> {
  const scope = scopes.current;
  if (scope && !scope.step) return checkpoint(scope, { name, produce: (stepId) => work(stepId) });
  return patience.with(work(), name, 'Try again.');
}
