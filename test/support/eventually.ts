// Waits for something that comes about by itself, for as long as a test may wait for it.

const POLL_MS = 5;
/** A bound and no wait: only what never comes takes so long. A busy machine needs seconds for what takes milliseconds. */
const PATIENCE_MS = 15_000;

/**
 * Repeats `assertion` until it holds, and returns what it returns; rethrows its last error when it never does.
 * @example
 * await eventually(() => expect(ledger.calls).toHaveLength(3));
 */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (performance.now() >= giveUpAt) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
