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
  /**
   * Which of several implementations of one name this is: a whole number from 1, one without comes before all. A start
   * takes the highest unless it names another; what is unfinished goes on with its own, so keep it until none is left.
   * It is part of the stored name: `Checkout@2`.
   */
  readonly version?: number;
  /** What the result must be. A workflow that returns something else fails. */
  readonly output?: Schema;
}

/** Where a workflow stands in the code. */
export interface WorkflowOrigin {
  readonly place: string;
  readonly source: string;
}

export interface WorkflowDefinition {
  /** As it is stored, its version included. */
  readonly name: string;
  /** What all versions of it have in common, and what it is called by. */
  readonly title: string;
  readonly version: number;
  /** Of the method. */
  readonly source: string;
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
  source = Function.prototype.toString.call(invoke),
): WorkflowDefinition {
  assertIdentifier('A workflow name', name);
  if (titleOf(name) !== name) {
    throw new InvalidArgumentError(
      `Workflow "${name}": a name does not end in its version. Give it apart: @Workflow({ name: '…', version: 2 }).`,
    );
  }
  const { version } = options;
  if (version !== undefined && !(Number.isInteger(version) && version >= 1)) {
    throw new InvalidArgumentError(
      `Workflow "${name}": version must be a whole number of at least 1, not ${String(version)}.`,
    );
  }
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
  return {
    name: storedName(name, version),
    title: name,
    version: version ?? 0,
    source,
    maxRecoveryAttempts,
    input,
    output,
    invoke,
  };
}

/** The name with which a version is stored. */
export function storedName(title: string, version: number | undefined): string {
  return version === undefined ? title : `${title}@${version}`;
}

/** What all versions have in common. */
export function titleOf(name: string): string {
  return name.replace(/@\d+$/, '');
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
  private readonly byTitle = new Map<string, WorkflowDefinition[]>();
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
    const { title } = definition;
    this.byTitle.set(title, [...(this.byTitle.get(title) ?? []), definition]);
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

  /**
   * The implementation that a start takes.
   * @param version undefined: the newest
   * @throws WorkflowNotRegisteredError
   */
  newest(title: string, version?: number): WorkflowDefinition {
    if (version !== undefined) return this.get(storedName(title, version));
    let newest: WorkflowDefinition | undefined;
    for (const definition of this.byTitle.get(title) ?? [])
      if (!newest || definition.version > newest.version) newest = definition;
    return newest ?? this.get(title);
  }

  /** The stored name of what a start of `title` takes here; the title itself where nothing is registered under it. */
  nameOfNewest(title: string): string {
    return this.byTitle.has(title) ? this.newest(title).name : title;
  }

  /** What a workflow may be called by: the names, and those without their versions. */
  callable(): string[] {
    return [...new Set([...this.registrations.keys(), ...this.byTitle.keys()])];
  }

  all(): WorkflowDefinition[] {
    return [...this.registrations.values()].map(({ definition }) => definition);
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
