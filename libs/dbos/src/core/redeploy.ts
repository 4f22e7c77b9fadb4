/** Why a workflow is suspended rather than ended: what other code or configuration could go on from. */
import {
  NonDeterminismError,
  UnreadableArgumentsError,
  UnreadableHistoryError,
  type RunInterruptedError,
} from './errors.js';
import { ContextRestoreError } from './extension-errors.js';

export function isForRedeploy(reason: RunInterruptedError): boolean {
  return (
    reason instanceof NonDeterminismError ||
    reason instanceof UnreadableHistoryError ||
    reason instanceof UnreadableArgumentsError ||
    reason instanceof ContextRestoreError
  );
}
