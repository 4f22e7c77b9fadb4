/** Marks of providers that are put around workflows and steps, and the binder that finds them. */
import type { InjectionToken } from '@nestjs/common';
import { RegistrationError } from '../core/errors.js';
import type { ContextCarrier as CarrierContract } from '../engine/context-carriers.js';
import type { Engine } from '../engine/engine.js';
import type {
  StepInterceptor as StepContract,
  WorkflowInterceptor as WorkflowContract,
} from '../engine/interceptors.js';
import { staticInstancesOf, type Wrapper } from './provider-instances.js';

export type StepInterceptor = StepContract;
export type WorkflowInterceptor = WorkflowContract;
export type ContextCarrier = CarrierContract;

/** A decorator for classes with the methods of a contract; others do not compile. */
type ClassMark<Contract> = (target: abstract new (...args: never[]) => Contract) => void;

const STEP = Symbol('nestjs-dbos:step-interceptor');
const WORKFLOW = Symbol('nestjs-dbos:workflow-interceptor');
const CARRIER = Symbol('nestjs-dbos:context-carrier');

/**
 * Marks a singleton provider as an interceptor of steps: `intercept(context, next)` is called around every attempt of
 * every step and transaction of this application, and on no replay. Interceptors lie around each other in the order of
 * their registration: by modules as Nest visits them, then by their place among the providers.
 *
 * @example
 * ```ts
 * \@Injectable()
 * \@StepInterceptor()
 * class Timing implements StepInterceptor {
 *   async intercept(context: InterceptedStep, next: () => Promise<unknown>): Promise<unknown> { … }
 * }
 * ```
 */
export function StepInterceptor(): ClassMark<StepContract> {
  return mark(STEP);
}

/** Marks a singleton provider as an interceptor of workflows: `intercept(context, next)` is called around every run. */
export function WorkflowInterceptor(): ClassMark<WorkflowContract> {
  return mark(WORKFLOW);
}

/** Marks a singleton provider as a context carrier; those of the module's options lie around it. */
export function ContextCarrier(): ClassMark<CarrierContract> {
  return mark(CARRIER);
}

function mark(key: symbol): (target: object) => void {
  return (target) => Reflect.defineMetadata(key, true, target);
}

interface Extension {
  readonly key: symbol;
  readonly decorator: string;
  readonly methods: readonly string[];
  readonly add: (engine: Engine, instance: never) => void;
}

const EXTENSIONS: readonly Extension[] = [
  {
    key: STEP,
    decorator: '@StepInterceptor()',
    methods: ['intercept'],
    add: (engine, instance: StepContract) => engine.interceptors.addStep(instance),
  },
  {
    key: WORKFLOW,
    decorator: '@WorkflowInterceptor()',
    methods: ['intercept'],
    add: (engine, instance: WorkflowContract) => engine.interceptors.addWorkflow(instance),
  },
  {
    key: CARRIER,
    decorator: '@ContextCarrier()',
    methods: ['capture', 'run'],
    add: (engine, instance: CarrierContract) => engine.carriers.add(instance),
  },
];

/** Gives the engine all marked providers. @throws RegistrationError, InvalidArgumentError naming the class */
export function bindExtensions(engine: Engine, wrappers: readonly Wrapper[]): void {
  for (const extension of EXTENSIONS) {
    const seen = new Set<object>(); // one object under two tokens is one
    for (const wrapper of wrappers) {
      if (wrapper.isAlias || !isMarked(wrapper, extension.key)) continue;
      const instance = instanceOf(wrapper, extension);
      if (!seen.has(instance)) extension.add(engine, instance as never);
      seen.add(instance);
    }
  }
}

/** By its own class, or, where it is a mock or a fake, by the class it stands for. */
function isMarked({ token, instance }: Wrapper, key: symbol): boolean {
  const own = (instance as object | null | undefined)?.constructor;
  return [token, own].some(
    (type) => typeof type === 'function' && Reflect.getMetadata(key, type) === true,
  );
}

function instanceOf(wrapper: Wrapper, { decorator, methods }: Extension): object {
  const name = nameOf(wrapper.token);
  const [instance] = wrapper.isTransient ? [] : staticInstancesOf(wrapper);
  if (!instance)
    throw new RegistrationError(
      `${name} is marked with ${decorator}, but it is request-scoped or transient (or injects something that is). ` +
        'Make it a singleton.',
    );
  for (const method of methods) {
    if (typeof (instance as Record<string, unknown>)[method] === 'function') continue;
    throw new RegistrationError(
      `${name} is marked with ${decorator}, but has no method ${method}().`,
    );
  }
  return instance;
}

function nameOf(token: InjectionToken): string {
  return typeof token === 'function' ? token.name : String(token);
}
