/**
 * Puts the drain before every `onModuleDestroy` of the application. Nest destroys the root module's own providers and
 * later imports before ours: a Prisma client among them would close under running steps.
 */
import { Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { hookHosts, shadowHook } from './hook-shadow.js';

@Injectable()
export class DrainFirst {
  constructor(private readonly modules: ModulesContainer) {}

  /** @param drain many calls are one drain */
  install(drain: () => Promise<void>): void {
    // Values may be shared with another application, whose end is not ours; they end after our own onModuleDestroy.
    for (const { host } of hookHosts(this.modules, 'onModuleDestroy', { withValues: false })) {
      const restore = shadowHook(host, 'onModuleDestroy', async (original) => {
        restore?.();
        await drain();
        await original();
      });
    }
  }
}
