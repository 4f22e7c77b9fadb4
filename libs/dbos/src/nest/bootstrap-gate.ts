/**
 * Knows when every provider's `onApplicationBootstrap` has finished. Nest has no hook for that moment: ours may come
 * before those of the root module and of modules imported later, and theirs may take long.
 */
import { Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { deferred } from '../core/deferred.js';
import { hookHosts, shadowHook, type HookHost } from './hook-shadow.js';

@Injectable()
export class BootstrapGate {
  private readonly pending = new Set<object>();
  private readonly passed = deferred<void>();

  constructor(private readonly modules: ModulesContainer) {}

  /** Resolves once all hooks have finished; never when one of them fails, for then the application does not start. */
  get opened(): Promise<void> {
    return this.passed.promise;
  }

  /** Names of the classes whose hooks have not finished. */
  get waitingFor(): string[] {
    return [...this.pending].map((host) => host.constructor.name);
  }

  /** To be called before the first of these hooks, that is in `onModuleInit`. */
  watch(): void {
    for (const hookHost of hookHosts(this.modules, 'onApplicationBootstrap', { withValues: true }))
      this.watchHook(hookHost);
  }

  private watchHook({ host, calls }: HookHost): void {
    let left = calls;
    const restore = shadowHook(host, 'onApplicationBootstrap', async (original) => {
      await original();
      left -= 1;
      if (left > 0) return;
      restore?.();
      this.finished(host);
    });
    if (restore) this.pending.add(host); // an instance that cannot be watched is not waited for
  }

  private finished(host: object): void {
    this.pending.delete(host);
    if (this.pending.size === 0) this.passed.resolve();
  }
}
