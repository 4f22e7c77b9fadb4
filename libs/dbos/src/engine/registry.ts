/** Which workflows this engine can run, by name. */
import { assertIdentifier } from '../core/identifiers.js';
import {
  InvalidArgumentError,
  RegistrationError,
  WorkflowNotRegisteredError,
} from '../core/errors.js';
import { assertSchema, validated, type Schema } from '../core/schema.js';
import { shown } from '../core/shown.js';

export interface WorkflowOptions {
  /**
   * How often the workflow may be recovered after a death of its executor before it is set aside. Default 100;
   * 0 never recovers, `Infinity` always does.
   */
  readonly maxRecoveryAttempts?: number;
  /**
   * What the argument must be, or the first arguments, in the terms of Standard Schema. It is checked where the workflow
   * is started, and the workflow gets what the schema makes of it.
   */
  readonly input?: Schema | readonly Schema[];
  /** What the result must be. A workflow that returns something else fails. */
  readonly output?: Schema;
}

export interface WorkflowDefinition {
  readonly name: string;
  readonly maxRecoveryAttempts: number;
  readonly input: readonly Schema[];
  readonly output: Schema | undefined;
  readonly invoke: (...args: unknown[]) => unknown;
}

const DEFAULT_MAX_RECOVERY_ATTEMPTS = 100;

/** @throws InvalidArgumentError for an unusable name or option */
export function defineWorkflow(
  name: string,
  invoke: WorkflowDefinition['invoke'],
  options: WorkflowOptions = {},
): WorkflowDefinition {
  assertIdentifier('A workflow name', name);
  const { maxRecoveryAttempts = DEFAULT_MAX_RECOVERY_ATTEMPTS, output } = options;
  const input = [options.input ?? []].flat();
  for (const schema of input) assertSchema(`Workflow "${name}": input`, schema);
  if (output !== undefined) assertSchema(`Workflow "${name}": output`, output);
  const isCount = Number.isInteger(maxRecoveryAttempts) && maxRecoveryAttempts >= 0;
  if (maxRecoveryAttempts !== Infinity && !isCount) {
    throw new InvalidArgumentError(
      `Workflow "${name}": maxRecoveryAttempts must be a whole number of at least 0, or Infinity, ` +
        `not ${shown(maxRecoveryAttempts)}.`,
    );
  }
  return { name, maxRecoveryAttempts, input, output, invoke };
}

/** What the schemas make of the arguments. @throws ValidationError */
export async function validatedArguments(
  { name, input }: WorkflowDefinition,
  args: readonly unknown[],
): Promise<readonly unknown[]> {
  const valid = input.map((schema, index) =>
    validated(schema, args[index], `${index === 0 ? 'input' : `argument ${index + 1}`} of ${name}`),
  );
  return [...(await Promise.all(valid)), ...args.slice(input.length)];
}

interface Registration {
  readonly definition: WorkflowDefinition;
  readonly origin: string;
}

export class WorkflowRegistry {
  private readonly registrations = new Map<string, Registration>();
  private closed = false;

  /**
   * @param origin the method that is the workflow, for messages
   * @throws RegistrationError for a duplicate name and after `close()`
   */
  register(definition: WorkflowDefinition, origin = definition.name): void {
    const { name } = definition;
    if (this.closed) {
      throw new RegistrationError(
        `Workflow "${name}" was registered after the engine was launched. Register it before: recovery needs every ` +
          'workflow to be known.',
      );
    }
    const former = this.registrations.get(name);
    if (former) throw new RegistrationError(duplicate(name, former.origin, origin));
    this.registrations.set(name, { definition, origin });
  }

  /** From the launch on the set is fixed. */
  close(): void {
    this.closed = true;
  }

  /** @throws WorkflowNotRegisteredError */
  get(name: string): WorkflowDefinition {
    const registration = this.registrations.get(name);
    if (!registration) throw new WorkflowNotRegisteredError(name);
    return registration.definition;
  }

  names(): string[] {
    return [...this.registrations.keys()];
  }
}

function duplicate(name: string, first: string, second: string): string {
  if (first === second) {
    return (
      `The workflow ${first} exists twice: two modules provide its class. Provide it in one module and export it ` +
      'from there.'
    );
  }
  return (
    `${first} and ${second} are both workflows named "${name}". Give one of them another name: ` +
    "@Workflow({ name: '…' })."
  );
}
