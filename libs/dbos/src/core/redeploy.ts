/** Why a workflow is suspended rather than ended: what other code or configuration could go on from. */
import { NonDeterminismError, UnreadableHistoryError, type RunInterruptedError } from './errors.js';
import { ContextRestoreError, SealedArgumentsError } from './extension-errors.js';

export function isForRedeploy(reason: RunInterruptedError): boolean {
  return (
    reason instanceof NonDeterminismError ||
    reason instanceof UnreadableHistoryError ||
    reason instanceof SealedArgumentsError ||
    reason instanceof ContextRestoreError
  );
}
