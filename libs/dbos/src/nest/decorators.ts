/** The decorators only mark methods; the binder reads the marks when the application starts. */
import type { InjectionToken } from '@nestjs/common';
import { defineWorkflow, type WorkflowOptions } from '../engine/registry.js';
import { defineStep, type StepOptions } from '../engine/step.js';
import { defineTransaction, type TransactionOptions } from '../engine/transaction.js';
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

export interface TransactionDecoratorOptions extends TransactionOptions {
  /** The name stored with the checkpoint. Default: `Class.method`. */
  readonly name?: string;
  /**
   * Injection token of the client whose transaction it is: one of `transactionClients`. Default: the first of those, or
   * else the client that DbosModule was given.
   */
  readonly prisma?: InjectionToken;
}

const WORKFLOW = Symbol('nestjs-dbos:workflow');
const STEP = Symbol('nestjs-dbos:step');
const TRANSACTION = Symbol('nestjs-dbos:transaction');

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

/**
 * Marks a method of a provider as a transaction. Called from a workflow it is a step that runs exactly once: what it
 * writes with `flow.prisma()` and its checkpoint are one commit. When the transaction is rolled back for the sake of
 * another one, the method is called again; what it throws rolls back what it wrote and is recorded as the step's error.
 * Called from elsewhere it is a plain transaction, tried once.
 * @throws InvalidArgumentError at once for unusable options
 *
 * @example
 * ```ts
 * \@Transaction({ isolationLevel: 'Serializable' })
 * async reserve(sku: string): Promise<number> {
 *   const { stock } = await this.flow.prisma<PrismaService>().product.update({ … });
 *   return stock;
 * }
 * ```
 */
export function Transaction(options: TransactionDecoratorOptions = {}): MethodDecorator {
  return mark(TRANSACTION, '@Transaction()', options, (place) => {
    const { name, prisma: _prisma, ...settings } = options;
    defineTransaction(name ?? place, settings);
  });
}

/** The marks of one method. They belong to its class and name, so that decorators may replace the function. */
export interface Marks {
  readonly workflow?: WorkflowDecoratorOptions;
  readonly step?: StepDecoratorOptions;
  readonly transaction?: TransactionDecoratorOptions;
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
    transaction: Reflect.getOwnMetadata(TRANSACTION, owner, method) as Marks['transaction'],
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
    const { workflow, step, transaction } = ownMarks(target, String(property));
    if (workflow || step || transaction) {
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
