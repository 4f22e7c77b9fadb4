/** Time as a parameter: what the engine knows of clocks and timers, so that tests can set the time. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock of this machine, epoch milliseconds. */
  now(): number;
  /** Milliseconds from an arbitrary origin that never jump. */
  monotonic(): number;
  /** Calls `fire` once after `ms` milliseconds, however many they are. */
  schedule(ms: number, fire: () => void): Timer;
}

/** Node's timers fire at once beyond this many milliseconds (Node.js documentation, "setTimeout"). */
const MAX_TIMER_MS = 2_147_483_647;

/** The clock of production. */
export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  schedule(ms: number, fire: () => void): Timer {
    const due = this.monotonic() + ms;
    let timeout: NodeJS.Timeout;
    const arm = (): void => {
      const left = due - this.monotonic();
      // Node rounds a timer down to whole milliseconds, so one may fire a fraction early: arm again for the rest.
      if (!(left > 0)) return fire();
      timeout = setTimeout(arm, Math.min(Math.ceil(left), MAX_TIMER_MS));
    };
    timeout = setTimeout(arm, Math.min(Math.max(0, Math.ceil(ms)), MAX_TIMER_MS));
    return { cancel: () => clearTimeout(timeout) };
  }
}

/** Waits `ms`; an aborted signal ends the wait by rejecting with the signal's reason. Leaves no listener behind. */
export function wait(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason as Error);
    };
    const timer = clock.schedule(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
