/** `service.verb(Class, options).method(...args)`: the methods of a workflow class, each standing for a call of it. */
import type { Type } from '@nestjs/common';
import type { WorkflowHandle } from '../engine/handle.js';
import type { WorkflowBinder } from './workflow-binder.js';

/** Only the methods of `T`. */
export type MethodsOf<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: T[K];
};

/** The methods of `T`, each started as a workflow. */
export type Starting<T> = {
  readonly [K in keyof MethodsOf<T>]: MethodsOf<T>[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<WorkflowHandle<Awaited<R>>>
    : never;
};

/** The methods of `T`, each started as a workflow and awaited. */
export type Executing<T> = {
  readonly [K in keyof MethodsOf<T>]: MethodsOf<T>[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/** @param call what a method of the returned object does, under the workflow's name */
export function methodsOf<T extends object>(
  binder: WorkflowBinder,
  type: Type<T>,
  call: (name: string, args: unknown[]) => Promise<unknown>,
): object {
  return new Proxy(Object.freeze({}), {
    get: (_target, method) => {
      // Awaiting the object itself, instead of a method of it, must not look like a method called `then`.
      if (typeof method === 'symbol' || method === 'then') return undefined;
      const name = binder.workflowName(type, method);
      return (...args: unknown[]) => call(name, args);
    },
  });
}
