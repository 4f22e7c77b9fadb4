/** The instances that stand behind a provider: those on which Nest calls hooks and whose methods can be shadowed. */
import type { DiscoveryService } from '@nestjs/core';

export type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/**
 * None for what is made for each request. A transient provider has one for each of its users; what its wrapper itself
 * holds is only a model of them.
 */
export function staticInstancesOf(wrapper: Wrapper): object[] {
  if (wrapper.isTransient) {
    return wrapper
      .getStaticTransientInstances()
      .map((host) => host?.instance as unknown)
      .filter(isObject);
  }
  if (!wrapper.isDependencyTreeStatic()) return [];
  const instance: unknown = wrapper.instance;
  return isObject(instance) ? [instance] : [];
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
