/**
 * Finds marked methods and shadows them on their instances: `this.step()` is checkpointed too, a plain `new Service()`
 * in a unit test is a plain class, and a mocked provider keeps the steps of the class it stands for.
 */
import { Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, type ContextIdFactory } from '@nestjs/core';
import {
  EngineNotRunningError,
  RegistrationError,
  WorkflowNotRegisteredError,
} from '../core/errors.js';
import { Engine } from '../engine/engine.js';
import { defineStep } from '../engine/step.js';
import { defineTransaction } from '../engine/transaction.js';
import { assertScheduledWorkflows, declareSchedules } from './scheduled-methods.js';
import type { StepDecoratorOptions, TransactionDecoratorOptions } from './decorators.js';
import { markedMethods, type MarkedMethod } from './marked-methods.js';
import { staticInstancesOf, type Wrapper } from './provider-instances.js';
import { shadowMethod, unshadowed } from './shadow-method.js';

type ContextId = ReturnType<typeof ContextIdFactory.create>;

@Injectable()
export class WorkflowBinder {
  private readonly restore: Array<() => void> = [];
  private readonly bound = new WeakSet<object>();
  /** Providers with marks that are made for each request or run. */
  private readonly scoped: Wrapper[] = [];
  /** Workflow names by class (or instance, for aliases) and method, for `workflows.start(Class).method()`. */
  private readonly workflowNames = new Map<unknown, ReadonlyMap<string, string>>();
  private isBound = false;

  constructor(
    private readonly engine: Engine,
    private readonly discovery: DiscoveryService,
  ) {}

  /** @throws RegistrationError for a mark that cannot work, naming the class and the cure */
  bind(): void {
    for (const wrapper of this.discovery.getControllers()) this.refuseMarks(wrapper);
    const wrappers = this.discovery.getProviders();
    for (const wrapper of wrappers) if (!wrapper.isAlias) this.bindProvider(wrapper);
    for (const wrapper of wrappers) if (wrapper.isAlias) this.nameAlias(wrapper);
    this.isBound = true;
  }

  /** Gives every instance its own methods back; instances may outlive the application. */
  unbind(): void {
    for (const restore of this.restore.splice(0).toReversed()) restore();
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

  /** Shadows the steps of everything that was made for this context. */
  bindContext(contextId: ContextId): void {
    for (const wrapper of this.scoped) {
      const host = wrapper.getInstanceByContextId(contextId);
      if (host.isResolved)
        this.bindSteps(host.instance as object, markedMethods(wrapper, host.instance));
    }
  }

  /** Shadows the steps of one instance that was made outside of the scan. */
  bindInstance(instance: object, type: Type): void {
    this.bindSteps(instance, markedMethods({ token: type, metatype: type }, instance));
  }

  private bindProvider(wrapper: Wrapper): void {
    const instances = staticInstancesOf(wrapper);
    const marked = markedMethods(wrapper, instances[0]);
    if (marked.length === 0) return;
    assertScheduledWorkflows(marked);
    const workflow = marked.find(({ marks }) => marks.workflow);
    if (workflow) assertSingleton(wrapper, workflow);
    if (!wrapper.isDependencyTreeStatic()) this.scoped.push(wrapper);
    for (const instance of instances) {
      if (this.bound.has(instance)) continue; // one object under two tokens
      this.bindSteps(instance, marked);
      this.bindWorkflows(instance, marked);
      declareSchedules(this.engine, marked);
    }
    this.nameWorkflows(wrapper, instances[0], marked);
  }

  private bindSteps(instance: object, marked: readonly MarkedMethod[]): void {
    if (this.bound.has(instance)) return;
    this.bound.add(instance);
    for (const { method, place, marks } of marked) {
      if (marks.step) this.bindStep(instance, method, { place, ...marks.step });
      if (marks.transaction)
        this.bindTransaction(instance, method, { place, ...marks.transaction });
    }
  }

  private bindStep(
    instance: object,
    method: string,
    { place, name = place, ...options }: StepDecoratorOptions & { readonly place: string },
  ): void {
    const { flow, scopes } = this.engine;
    const definition = defineStep(name, options);
    this.shadow(instance, method, place, (original) => (self, args) => {
      const scope = scopes.current;
      if (!scope || scope.step) return Reflect.apply(original, self, args);
      return flow.runStep(definition, () => Reflect.apply(original, self, args));
    });
  }

  private bindTransaction(
    instance: object,
    method: string,
    { place, name = place, prisma, ...options }: TransactionDecoratorOptions & { place: string },
  ): void {
    const { transactions } = this.engine;
    const definition = defineTransaction(name, options);
    if (prisma !== undefined) transactions.assertKnown(prisma);
    this.shadow(
      instance,
      method,
      place,
      (original) => (self, args) =>
        transactions.run(definition, prisma, () => Reflect.apply(original, self, args)),
    );
  }

  private bindWorkflows(instance: object, marked: readonly MarkedMethod[]): void {
    const { engine } = this;
    for (const { method, place, marks } of marked) {
      const { workflow } = marks;
      if (!workflow) continue;
      const name = workflow.name ?? place;
      this.shadow(instance, method, place, (original) => {
        const run = unshadowed(original);
        const invoke = (...args: unknown[]): unknown => Reflect.apply(run, instance, args);
        // Not String(run): a double that answers to everything makes no primitive of itself.
        const source = Function.prototype.toString.call(run);
        engine.register(name, invoke, workflow, { place, source });
        const { version } = workflow; // a call of the method itself means this one, however old
        return (_self, args) =>
          engine.execute(name, args, version === undefined ? {} : { version });
      });
    }
  }

  private shadow(...shadowing: Parameters<typeof shadowMethod>): void {
    const restore = shadowMethod(...shadowing);
    if (restore) this.restore.push(restore);
  }

  private nameWorkflows(
    { token, metatype }: Wrapper,
    instance: object | undefined,
    marked: readonly MarkedMethod[],
  ): void {
    const names = new Map(
      marked.flatMap(({ method, place, marks: { workflow } }) =>
        workflow ? [[method, workflow.name ?? place] as const] : [],
      ),
    );
    for (const key of [token, metatype, instance]) if (key) this.workflowNames.set(key, names);
  }

  private nameAlias(wrapper: Wrapper): void {
    const names = this.workflowNames.get(wrapper.instance);
    if (names) this.workflowNames.set(wrapper.token, names);
  }

  private refuseMarks(wrapper: Wrapper): void {
    const [marked] = markedMethods(wrapper, staticInstancesOf(wrapper)[0]);
    if (!marked) return;
    throw new RegistrationError(
      `${marked.place} is marked as a workflow or step, but its class is a controller. Move the method to a provider ` +
        'and inject that.',
    );
  }
}

function assertSingleton(wrapper: Wrapper, { place }: MarkedMethod): void {
  if (wrapper.isDependencyTreeStatic() && !wrapper.isTransient) return;
  throw new RegistrationError(
    `${place} is a @Workflow(), but its class is request-scoped or transient (or injects something that is). ` +
      'A workflow goes on without the request that started it: make the class a singleton and get request-scoped ' +
      'providers inside of the workflow with WorkflowContext.resolve().',
  );
}
