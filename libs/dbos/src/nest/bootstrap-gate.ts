/**
 * Knows when every provider's `onApplicationBootstrap` has finished. Nest has no hook for that moment: ours may come
 * before those of the root module and of modules imported later, and theirs may take long.
 */
import { Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { deferred } from '../core/deferred.js';

interface Bootstrapping {
  onApplicationBootstrap(): unknown;
}

@Injectable()
export class BootstrapGate {
  private readonly pending = new Set<object>();
  private readonly passed = deferred<void>();

  constructor(private readonly modules: ModulesContainer) {}

  /** Resolves once all hooks have finished; never when one of them fails, for then the application does not start. */
  get opened(): Promise<void> {
    return this.passed.promise;
  }

  /** To be called before the first of these hooks, that is in `onModuleInit`. */
  watch(): void {
    for (const host of this.hosts()) this.watchHook(host);
  }

  private hosts(): Set<Bootstrapping> {
    const hosts = new Set<Bootstrapping>();
    for (const module of this.modules.values()) {
      for (const wrappers of [
        module.providers,
        module.controllers,
        module.injectables,
        module.middlewares,
      ]) {
        for (const wrapper of wrappers.values()) {
          // Nest calls hooks on singletons only.
          const instance: unknown = wrapper.isDependencyTreeStatic() ? wrapper.instance : undefined;
          if (isBootstrapping(instance)) hosts.add(instance);
        }
      }
    }
    return hosts;
  }

  private watchHook(host: Bootstrapping): void {
    const own = Object.getOwnPropertyDescriptor(host, 'onApplicationBootstrap');
    const watched = async (): Promise<void> => {
      if (own) Object.defineProperty(host, 'onApplicationBootstrap', own);
      else Reflect.deleteProperty(host, 'onApplicationBootstrap');
      await host.onApplicationBootstrap(); // its own again
      this.finished(host);
    };
    const shadowed = Reflect.defineProperty(host, 'onApplicationBootstrap', {
      value: watched,
      configurable: true,
      writable: true,
    });
    if (shadowed) this.pending.add(host); // a frozen instance cannot be watched; its hook is not waited for
  }

  private finished(host: object): void {
    this.pending.delete(host);
    if (this.pending.size === 0) this.passed.resolve();
  }
}

function isBootstrapping(instance: unknown): instance is Bootstrapping {
  return (
    typeof instance === 'object' &&
    instance !== null &&
    'onApplicationBootstrap' in instance &&
    typeof instance.onApplicationBootstrap === 'function'
  );
}
