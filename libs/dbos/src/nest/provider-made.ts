/** The moment at which a provider exists: before any other provider is given it, and before all lifecycle hooks. */
import type { InjectionToken } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';

/**
 * Calls `then` once for each provider of this token, as soon as its constructor or factory is through. Does not wait:
 * who is asked for may need the caller.
 */
export function whenMade(modules: ModulesContainer, token: InjectionToken, then: () => void): void {
  for (const { providers } of modules.values()) {
    const made = providers.get(token)?.settlementSignal?.asPromise();
    void made?.then(then);
  }
}
