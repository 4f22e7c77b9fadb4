/** The decorators only mark methods; the binder reads the marks when the application starts. */
import type { WorkflowOptions } from '../engine/registry.js';
import { defineStep, type StepOptions } from '../engine/step.js';
import { RegistrationError } from '../core/errors.js';

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
  return mark(WORKFLOW, '@Workflow()', options);
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
  const { name, ...policy } = options;
  defineStep(name ?? 'step', policy); // a wrong option shows where it is written
  return mark(STEP, '@Step()', options);
}

export function workflowMark(method: object): WorkflowDecoratorOptions | undefined {
  return Reflect.getMetadata(WORKFLOW, method) as WorkflowDecoratorOptions | undefined;
}

export function stepMark(method: object): StepDecoratorOptions | undefined {
  return Reflect.getMetadata(STEP, method) as StepDecoratorOptions | undefined;
}

function mark(key: symbol, decorator: string, options: object): MethodDecorator {
  return (target, property, descriptor) => {
    const method = descriptor.value as unknown;
    const place = `${target.constructor.name}.${String(property)}`;
    if (typeof property === 'symbol' || typeof method !== 'function') {
      throw new RegistrationError(
        `${decorator} on ${place}: only methods with a name can be marked.`,
      );
    }
    if (typeof target === 'function') {
      throw new RegistrationError(
        `${decorator} on static ${place}: mark a method of an injectable instance.`,
      );
    }
    if (workflowMark(method) || stepMark(method)) {
      throw new RegistrationError(
        `${decorator} on ${place}: the method is marked already; use one mark, once.`,
      );
    }
    Reflect.defineMetadata(key, options, method);
  };
}
