/** Errors of what is done to workflows from outside. */
import { DbosError, RunInterruptedError } from './errors.js';

/** This run's workflow was deleted. */
export class WorkflowDeletedError extends RunInterruptedError {
  readonly code = 'DBOS_WORKFLOW_DELETED';

  constructor(readonly workflowId: string) {
    super(`Workflow "${workflowId}" was deleted while it was running.`);
  }
}

/** A fork was to begin at a step that the workflow has not recorded. */
export class StepNotFoundError extends DbosError {
  readonly code = 'DBOS_STEP_NOT_FOUND';

  constructor(
    readonly workflowId: string,
    readonly stepName: string,
  ) {
    super(
      `Workflow "${workflowId}" has recorded no step named "${stepName}". Look at its steps, and fork it from one of them.`,
    );
  }
}
