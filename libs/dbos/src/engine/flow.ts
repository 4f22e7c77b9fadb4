/** The durable operations a workflow may call; each is one checkpoint of the current run. */
import { randomUUID } from 'node:crypto';
import type { Duration } from '../core/duration.js';
import { NotInWorkflowError } from '../core/errors.js';
import type { Branch, Branches } from './branches.js';
import { checkpoint } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import type { RunScopes, StepContext } from './run-scope.js';
import { Patches } from './patches.js';
import type { Sleeper } from './sleep.js';
import {
  defineStep,
  runStep,
  type StepBody,
  type StepDefinition,
  type StepOptions,
  type StepSurroundings,
} from './step.js';
import { givenFunction, givenList, givenOptions } from '../core/given.js';

export class Flow {
  readonly patches: Patches;

  constructor(
    private readonly surroundings: StepSurroundings,
    private readonly sleeper: Sleeper,
    private readonly branches: Branches,
    private readonly time: DatabaseTime,
  ) {
    this.patches = new Patches(surroundings.scopes);
  }

  private get scopes(): RunScopes {
    return this.surroundings.scopes;
  }

  get workflowId(): string {
    const scope = this.scopes.current;
    if (!scope) throw new NotInWorkflowError('workflowId');
    return scope.run.id;
  }

  get isInWorkflow(): boolean {
    return this.scopes.current !== undefined;
  }

  get stepContext(): StepContext {
    const step = this.scopes.current?.step;
    if (!step) throw new NotInWorkflowError('stepContext, which belongs to a running step,');
    return step;
  }

  async step<T>(name: string, body: StepBody<T>, options?: StepOptions): Promise<T> {
    const definition = defineStep(name, options && givenOptions('flow.step()', options));
    return this.runStep(definition, givenFunction(`Step "${name}"`, body));
  }

  /** In a workflow a checkpointed step; inside a step part of it; elsewhere an ordinary call. */
  runStep<T>(definition: StepDefinition, body: StepBody<T>): Promise<T> {
    const scope = this.scopes.current;
    if (scope && !scope.step) return runStep(this.surroundings, scope, definition, body);
    const context = scope?.step ?? outsideContext(definition.name);
    return (async () => body(context))(); // one that throws synchronously rejects as well
  }

  async sleep(until: Duration | Date): Promise<void> {
    return this.sleeper.sleep(this.scopes.require('flow.sleep()'), until);
  }

  async now(): Promise<Date> {
    const scope = this.scopes.current;
    if (!scope || scope.step) return new Date(this.epochMs());
    return new Date(
      await checkpoint(scope, { name: 'flow.now', effect: false, produce: () => this.epochMs() }),
    );
  }

  /** The clock by which sleeps are measured too. */
  private epochMs(): number {
    return Math.round(this.time.nowMs());
  }

  async uuid(): Promise<string> {
    const scope = this.scopes.current;
    if (!scope || scope.step) return randomUUID();
    return checkpoint(scope, { name: 'flow.uuid', effect: false, produce: () => randomUUID() });
  }

  async all<T>(branches: ReadonlyArray<Branch<T>>): Promise<T[]> {
    const scope = this.scopes.require('flow.all()');
    return this.branches.all(scope, branchesOf('flow.all()', branches));
  }

  async map<T, R>(
    items: readonly T[],
    work: (item: T, index: number) => R | Promise<R>,
    concurrency?: number,
  ): Promise<R[]> {
    const scope = this.scopes.require('flow.map()');
    givenFunction('What flow.map() does', work);
    return this.branches.map(
      scope,
      givenList('What flow.map() goes over', items),
      work,
      concurrency,
    );
  }

  async race<T>(branches: ReadonlyArray<Branch<T>>): Promise<T> {
    const scope = this.scopes.require('flow.race()');
    return this.branches.race(scope, branchesOf('flow.race()', branches));
  }
}

/** @throws InvalidArgumentError for what is no list of functions */
function branchesOf<T>(
  operation: string,
  given: ReadonlyArray<Branch<T>>,
): ReadonlyArray<Branch<T>> {
  const what = `A branch of ${operation}`;
  return Array.from(givenList(`What ${operation} runs`, given), (one) => givenFunction(what, one));
}

/** What a step that is called outside of a workflow gets: it is an ordinary call, tried once. */
function outsideContext(stepName: string): StepContext {
  const id = randomUUID();
  return {
    workflowId: '',
    stepId: '',
    stepName,
    attempt: 1,
    idempotencyKey: id,
    signal: new AbortController().signal,
  };
}
