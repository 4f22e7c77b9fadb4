/** Which workflows this engine can run, by name. */
import { assertIdentifier } from '../core/identifiers.js';
import {
  InvalidArgumentError,
  RegistrationError,
  WorkflowNotRegisteredError,
} from '../core/errors.js';

export interface WorkflowOptions {
  /**
   * How often the workflow may be recovered after a death of its executor before it is set aside. Default 100;
   * 0 never recovers, `Infinity` always does.
   */
  readonly maxRecoveryAttempts?: number;
}

export interface WorkflowDefinition {
  readonly name: string;
  readonly maxRecoveryAttempts: number;
  readonly invoke: (...args: unknown[]) => unknown;
}

const DEFAULT_MAX_RECOVERY_ATTEMPTS = 100;

export class WorkflowRegistry {
  private readonly definitions = new Map<string, WorkflowDefinition>();
  private closed = false;

  /**
   * @throws RegistrationError for a duplicate name and after `close()`
   * @throws InvalidArgumentError for an unusable name or option
   */
  register(
    name: string,
    invoke: WorkflowDefinition['invoke'],
    options: WorkflowOptions = {},
  ): WorkflowDefinition {
    assertIdentifier('A workflow name', name);
    if (this.closed) {
      throw new RegistrationError(
        `Workflow "${name}" was registered after the engine was launched. Register it before: recovery needs every ` +
          'workflow to be known.',
      );
    }
    if (this.definitions.has(name)) {
      throw new RegistrationError(
        `Two workflows are named "${name}". Give one of them another name: @Workflow({ name: '…' }).`,
      );
    }
    const maxRecoveryAttempts = options.maxRecoveryAttempts ?? DEFAULT_MAX_RECOVERY_ATTEMPTS;
    if (!(
      maxRecoveryAttempts === Infinity ||
      (Number.isInteger(maxRecoveryAttempts) && maxRecoveryAttempts >= 0)
    )) {
      throw new InvalidArgumentError(
        `Workflow "${name}": maxRecoveryAttempts must be a whole number of at least 0, or Infinity, ` +
          `not ${String(maxRecoveryAttempts)}.`,
      );
    }
    const definition: WorkflowDefinition = { name, maxRecoveryAttempts, invoke };
    this.definitions.set(name, definition);
    return definition;
  }

  /** From the launch on the set is fixed. */
  close(): void {
    this.closed = true;
  }

  /** @throws WorkflowNotRegisteredError */
  get(name: string): WorkflowDefinition {
    const definition = this.definitions.get(name);
    if (!definition) throw new WorkflowNotRegisteredError(name);
    return definition;
  }

  names(): string[] {
    return [...this.definitions.keys()];
  }
}
