/** Puts something before or after a lifecycle hook of every instance of an application, for one application's life. */
import type { ModulesContainer } from '@nestjs/core';
import { staticInstancesOf } from './provider-instances.js';

/** On a hook that is a shadow already, of another application that shares the instance. */
const SHADOW = Symbol('nestjs-dbos:hook');

export type HookName = 'onApplicationBootstrap' | 'onModuleDestroy';
type Hook = (() => unknown) & { readonly [SHADOW]?: true };

/** An instance that has the hook, and how often Nest is going to call it: once for each module that provides it. */
export interface HookHost {
  readonly host: object;
  readonly calls: number;
}

/** @param withValues whether those count that the container was given ready made (`useValue`) */
export function hookHosts(
  modules: ModulesContainer,
  name: HookName,
  { withValues }: { readonly withValues: boolean },
): HookHost[] {
  const calls = new Map<object, number>();
  for (const module of modules.values()) {
    const kinds = [module.providers, module.controllers, module.injectables, module.middlewares];
    for (const wrapper of kinds.flatMap((wrappers) => [...wrappers.values()])) {
      if (wrapper.isAlias) continue; // Nest calls hooks on the provider it stands for
      if (!withValues && !wrapper.metatype) continue;
      for (const host of staticInstancesOf(wrapper)) {
        if (hookOf(host, name)) calls.set(host, (calls.get(host) ?? 0) + 1);
      }
    }
  }
  return [...calls].map(([host, count]) => ({ host, calls: count }));
}

/**
 * Replaces the hook on the instance itself. Instances may outlive the application, so whoever shadows restores.
 * @returns gives the instance its own hook back; undefined for one that cannot be shadowed, such as a frozen one, or one
 *   that another application has shadowed
 */
export function shadowHook(
  host: object,
  name: HookName,
  around: (original: Hook) => Promise<void>,
): (() => void) | undefined {
  const original = hookOf(host, name);
  if (!original || original[SHADOW] === true) return undefined;
  const own = Object.getOwnPropertyDescriptor(host, name);
  const value = Object.assign(() => around(() => original.call(host)), { [SHADOW]: true });
  if (!Reflect.defineProperty(host, name, { value, configurable: true, writable: true }))
    return undefined;
  return () => {
    if (own) Object.defineProperty(host, name, own);
    else Reflect.deleteProperty(host, name);
  };
}

function hookOf(host: object, name: HookName): Hook | undefined {
  const hook: unknown = Reflect.get(host, name);
  return typeof hook === 'function' ? (hook as Hook) : undefined;
}
