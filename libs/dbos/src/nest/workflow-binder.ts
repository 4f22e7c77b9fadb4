/**
 * Finds marked methods and shadows them on their instances: `this.step()` is checkpointed too, a plain `new Service()`
 * in a unit test is a plain class, and a mocked provider keeps the steps of the class it stands for.
 */
import { Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import {
  EngineNotRunningError,
  RegistrationError,
  WorkflowNotRegisteredError,
} from '../core/errors.js';
import { Engine } from '../engine/engine.js';
import { defineStep } from '../engine/step.js';
import {
  stepMark,
  workflowMark,
  type StepDecoratorOptions,
  type WorkflowDecoratorOptions,
} from './decorators.js';
import { staticInstancesOf, type Wrapper } from './provider-instances.js';

type Method = (...args: unknown[]) => unknown;
type Host = Record<string, unknown>;

@Injectable()
export class WorkflowBinder {
  private readonly restore: Array<() => void> = [];
  private readonly bound = new WeakSet<object>();
  private isBound = false;
  /** Workflow names by class and method, for `workflows.start(Class).method()`. */
  private readonly workflowNames = new Map<unknown, Map<string, string>>();

  constructor(
    private readonly engine: Engine,
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  /** @throws RegistrationError for a mark that cannot work, naming the class and the cure */
  bind(): void {
    for (const wrapper of this.discovery.getControllers())
      this.refuseMarks(wrapper, 'a controller');
    for (const wrapper of this.discovery.getProviders()) this.bindProvider(wrapper);
    this.isBound = true;
  }

  /** Gives every instance its own methods back; instances may outlive the application. */
  unbind(): void {
    for (const restore of this.restore.splice(0).reverse()) restore();
  }

  /** @throws WorkflowNotRegisteredError, EngineNotRunningError before the application is initialised */
  workflowName(type: Type, method: string): string {
    if (!this.isBound) {
      throw new EngineNotRunningError(
        `${type.name}.${method} cannot be started yet: the application is not initialised. Start workflows from ` +
          'onApplicationBootstrap on; in tests call `await app.init()` first.',
      );
    }
    const name = this.workflowNames.get(type)?.get(method);
    if (name === undefined) throw new WorkflowNotRegisteredError(`${type.name}.${method}`);
    return name;
  }

  /** Shadows the steps of an instance that was made outside of the scan, such as a request-scoped one. */
  bindInstance(instance: object, type: Type): void {
    if (this.bound.has(instance)) return;
    this.bound.add(instance);
    for (const [method, step] of this.marks(type).steps)
      this.bindStep(instance as Host, type, method, step);
  }

  private bindProvider(wrapper: Wrapper): void {
    const type = typeOf(wrapper);
    if (!type) return;
    const { workflows, steps } = this.marks(type);
    if (workflows.size > 0) this.assertSingleton(wrapper, type);
    if (workflows.size + steps.size === 0) return;
    for (const instance of staticInstancesOf(wrapper)) {
      if (this.bound.has(instance)) continue; // the same instance under an alias
      this.bound.add(instance);
      for (const [method, step] of steps) this.bindStep(instance as Host, type, method, step);
      for (const [method, workflow] of workflows)
        this.bindWorkflow(instance as Host, type, method, workflow);
    }
    this.nameWorkflows(wrapper, type, workflows);
  }

  private bindStep(
    host: Host,
    type: Type,
    method: string,
    { name, ...options }: StepDecoratorOptions,
  ): void {
    const definition = defineStep(name ?? defaultName(type, method), options);
    const { flow, scopes } = this.engine;
    this.shadow(host, type, method, (original) => (self, args) => {
      const scope = scopes.current;
      if (!scope || scope.step) return Reflect.apply(original, self, args);
      return flow.runStep(definition, () => Reflect.apply(original, self, args));
    });
  }

  private bindWorkflow(
    host: Host,
    type: Type,
    method: string,
    options: WorkflowDecoratorOptions,
  ): void {
    const name = options.name ?? defaultName(type, method);
    const { engine } = this;
    this.shadow(host, type, method, (original) => {
      engine.register(name, (...args) => Reflect.apply(original, host, args), options);
      return (_self, args) => engine.execute(name, args);
    });
  }

  /** A proxy rather than a closure: a mock function keeps what its test asks it for. */
  private shadow(
    host: Host,
    type: Type,
    method: string,
    bodyOf: (original: Method) => (self: unknown, args: unknown[]) => unknown,
  ): void {
    const original = host[method];
    if (typeof original !== 'function') return; // a mock that leaves the method out
    const own = Object.getOwnPropertyDescriptor(host, method);
    const body = bodyOf(original as Method);
    const value = new Proxy(original, {
      apply: (_target, self, args: unknown[]) => body(self, args),
    });
    if (
      !Reflect.defineProperty(host, method, {
        value,
        configurable: true,
        writable: true,
        enumerable: false,
      })
    ) {
      throw new RegistrationError(
        `${type.name}.${method} cannot be bound: its instance is frozen. Provide an object that can be extended.`,
      );
    }
    this.restore.push(() => {
      if (own) Object.defineProperty(host, method, own);
      else Reflect.deleteProperty(host, method);
    });
  }

  private nameWorkflows(
    { token }: Wrapper,
    type: Type,
    workflows: ReadonlyMap<string, WorkflowDecoratorOptions>,
  ): void {
    const names = new Map(
      [...workflows].map(([method, { name }]) => [method, name ?? defaultName(type, method)]),
    );
    this.workflowNames.set(type, names);
    this.workflowNames.set(token, names);
  }

  private assertSingleton(wrapper: Wrapper, type: Type): void {
    if (wrapper.isDependencyTreeStatic() && !wrapper.isTransient) return;
    throw new RegistrationError(
      `${type.name} has a @Workflow() method but is request-scoped or transient (or injects something that is). ` +
        'A workflow goes on without the request that started it: make the class a singleton and get request-scoped ' +
        'providers inside of the workflow with WorkflowContext.resolve().',
    );
  }

  private refuseMarks(wrapper: Wrapper, kind: string): void {
    const type = typeOf(wrapper);
    if (!type) return;
    const { workflows, steps } = this.marks(type);
    const [method] = [...workflows.keys(), ...steps.keys()];
    if (method === undefined) return;
    throw new RegistrationError(
      `${type.name}.${method} is marked as a workflow or step, but ${type.name} is ${kind}. Move the method to a ` +
        'provider and inject that.',
    );
  }

  /** Read from the prototype, so that no getter of an instance is ever called. */
  private marks(type: Type): {
    workflows: Map<string, WorkflowDecoratorOptions>;
    steps: Map<string, StepDecoratorOptions>;
  } {
    const workflows = new Map<string, WorkflowDecoratorOptions>();
    const steps = new Map<string, StepDecoratorOptions>();
    const prototype = type.prototype as Record<string, object> | undefined;
    if (!prototype) return { workflows, steps };
    for (const method of this.scanner.getAllMethodNames(prototype)) {
      const value = prototype[method];
      const workflow = value && workflowMark(value);
      const step = value && stepMark(value);
      if (workflow) workflows.set(method, workflow);
      if (step) steps.set(method, step);
    }
    return { workflows, steps };
  }
}

function defaultName(type: Type, method: string): string {
  if (type.name !== '') return `${type.name}.${method}`;
  throw new RegistrationError(
    `A class without a name has a marked method "${method}". Name the class, or the mark.`,
  );
}

/** The class whose marks count: that of the token when an instance stands in for it, else the instance's own. */
function typeOf(wrapper: Wrapper): Type | undefined {
  const { token, metatype, inject } = wrapper;
  const isClass = (value: unknown): value is Type =>
    typeof value === 'function' && value.prototype !== undefined;
  if (metatype && !inject && isClass(metatype)) return metatype;
  const instance: unknown = wrapper.isDependencyTreeStatic() ? wrapper.instance : undefined;
  if (isClass(token)) return token;
  return typeof instance === 'object' && instance !== null
    ? (instance.constructor as Type)
    : undefined;
}
