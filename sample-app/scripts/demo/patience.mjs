// Waiting with a limit.
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 25;

/**
 * Asks until the answer is something, and returns it.
 * @template T
 * @param {{ what: string, limitMs: number, signal: AbortSignal }} options
 * @param {() => Promise<T | undefined>} ask
 * @returns {Promise<T>}
 */
export async function waitFor({ what, limitMs, signal }, ask) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${what} took longer than ${limitMs / 1000} s`);
    await delay(POLL_MS, undefined, { signal });
  }
}
