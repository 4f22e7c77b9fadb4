/**
 * Runs work of the engine in no one's asynchronous context. Timers, loops and batches would otherwise carry on the
 * context (user, span, tenant) of the request that happened to wake them, and keep it in memory.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

export type CleanContext = <T>(work: () => T) => T;

/** To be made where no request is under way: when the application is put together. */
export function cleanContext(): CleanContext {
  const enter = AsyncLocalStorage.snapshot();
  return (work) => enter(work);
}
