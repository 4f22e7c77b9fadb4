/** The decorators only mark methods; the binder reads the marks when the application starts. */
import { defineWorkflow, type WorkflowOptions } from '../engine/registry.js';
import { defineStep, type StepOptions } from '../engine/step.js';
import { RegistrationError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { markPlace } from './mark-place.js';
import { scheduleMarks, type ScheduleMark } from './scheduled.js';

export interface WorkflowDecoratorOptions extends WorkflowOptions {
  /** The name stored with every run; renaming it strands what is unfinished. Default: `Class.method`. */
  readonly name?: string;
}

export interface StepDecoratorOptions extends StepOptions {
  /** The name stored with every checkpoint. Default: `Class.method`. */
  readonly name?: string;
}

const WORKFLOW = Symbol('nestjs-dbos:workflow');
const STEP = Symbol('nestjs-dbos:step');

/**
 * Marks a method of a singleton provider as a workflow: once started, it runs to an outcome, whatever dies.
 *
 * @example
 * ```ts
 * \@Workflow()
 * async run(order: Order): Promise<Receipt> { … }
 * ```
 */
export function Workflow(options: WorkflowDecoratorOptions = {}): MethodDecorator {
  return mark(WORKFLOW, '@Workflow()', options, (place) => {
    defineWorkflow(options.name ?? place, () => undefined, options);
  });
}

/**
 * Marks a method of a provider as a step: called from a workflow, its outcome is recorded, and once recorded it never
 * runs again. Called from elsewhere it is an ordinary method.
 * @throws InvalidArgumentError at once for unusable options
 *
 * @example
 * ```ts
 * \@Step({ maxRetries: 10, maxIntervalMs: 30_000 })
 * charge(order: Order): Promise<Charge> { … }
 * ```
 */
export function Step(options: StepDecoratorOptions = {}): MethodDecorator {
  return mark(STEP, '@Step()', options, (place) => {
    const { name, ...policy } = options;
    defineStep(name ?? place, policy);
  });
}

/** The marks of one method. They belong to its class and name, so that decorators may replace the function. */
export interface Marks {
  readonly workflow?: WorkflowDecoratorOptions;
  readonly step?: StepDecoratorOptions;
  readonly schedules?: readonly ScheduleMark[];
}

/** The marks of the method of this name on the prototype that defines it: an override has those it is given itself. */
export function marksOf(prototype: object, method: string): Marks {
  let owner: object | null = prototype;
  while (owner && !Object.hasOwn(owner, method))
    owner = Object.getPrototypeOf(owner) as object | null;
  return owner ? ownMarks(owner, method) : {};
}

function ownMarks(owner: object, method: string): Marks {
  return {
    workflow: Reflect.getOwnMetadata(WORKFLOW, owner, method) as Marks['workflow'],
    step: Reflect.getOwnMetadata(STEP, owner, method) as Marks['step'],
    schedules: scheduleMarks(owner, method),
  };
}

/** @param check throws for unusable options, naming the place: a wrong option shows where it is written */
function mark(
  key: symbol,
  decorator: string,
  options: { readonly name?: string },
  check: (place: string) => void,
): MethodDecorator {
  return (target, property, descriptor) => {
    const place = markPlace(decorator, { target, property, descriptor });
    const { workflow, step } = ownMarks(target, String(property));
    if (workflow || step) {
      throw new RegistrationError(
        `${decorator} on ${place}: the method is marked already; use one mark, once.`,
      );
    }
    if (options.name !== undefined)
      assertIdentifier(`${decorator} on ${place}: its name`, options.name);
    check(place);
    Reflect.defineMetadata(key, options, target, property);
  };
}
