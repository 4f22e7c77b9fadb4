/** The durable transitions that no engine can do without. */
export interface Store {
  start(workflow: NewWorkflow): Promise<void>;
  /** @throws when the executor does not own the workflow any more */
  record(step: NewStep): Promise<void>;
  /** @throws likewise */
  finish(end: End): Promise<void>;
}

export interface NewWorkflow {
  readonly id: string;
  readonly name: string;
  readonly input: string;
}

export interface NewStep {
  readonly workflowId: string;
  readonly stepId: number;
  readonly output: string;
}

export interface End {
  readonly id: string;
  readonly output: string;
}

export class NotOwnedError extends Error {}
