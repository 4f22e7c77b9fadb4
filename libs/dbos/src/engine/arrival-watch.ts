/**
 * Waits for what comes to workflows from outside: told at once of what comes through this process, by notifications of
 * what comes through others, and looking again now and then, for notifications are hints. One loop, and one timer, for
 * all who wait.
 *
 * It only says when to look. Those who look side by side are answered by one statement.
 */
import type { Clock } from '../core/clock.js';
import { deferred, type Deferred } from '../core/deferred.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import { Loop, type LoopSettings } from './loop.js';

/** What is waited for: a message to a workflow on a topic, an event of a workflow under a key. */
export interface Awaited {
  readonly kind: 'message' | 'event';
  readonly workflowId: string;
  /** The topic or key. */
  readonly name: string;
}

/** One who waits. */
export interface Waiting {
  /** What has come, where it came with its value: no look is needed then. */
  readonly brought: EncodedValue | undefined;
  /** To be called before each look: whatever comes from then on ends the wait that follows, however early it comes. */
  arm(): void;
  /** Resolves with true when it is time to look, for something may have come; with false when the time is up. */
  wait(until: WaitEnd): Promise<boolean>;
  /** Waits no more. */
  end(): void;
}

export interface WaitEnd {
  /** Milliseconds from now; `Infinity` for never. */
  readonly withinMs: number;
  /** Ends the wait with its reason. */
  readonly signal?: AbortSignal;
}

interface Waiter {
  readonly awaited: Awaited;
  isArmed: boolean;
  brought: EncodedValue | undefined;
  wake: Deferred<boolean> | undefined;
  /** When to look at the latest (monotonic). */
  dueAt: number;
}

export class ArrivalWatch extends Loop {
  /** By the workflow that they wait for, which is what notifications name. */
  private readonly waiters = new Map<string, Set<Waiter>>();
  private readonly clock: Clock;
  private lookAt = 0;

  constructor(settings: Omit<LoopSettings, 'name'>) {
    super({ ...settings, name: 'Watching for arrivals' });
    this.clock = settings.clock;
  }

  register(awaited: Awaited): Waiting {
    const waiter: Waiter = {
      awaited,
      isArmed: false,
      brought: undefined,
      wake: undefined,
      dueAt: Infinity,
    };
    const { workflowId } = awaited;
    const waiters = this.waiters.get(workflowId) ?? new Set();
    this.waiters.set(workflowId, waiters.add(waiter));
    return {
      get brought() {
        return waiter.brought;
      },
      arm: () => (waiter.isArmed = true),
      wait: (until) => this.wait(waiter, until),
      end: () => {
        waiters.delete(waiter);
        if (waiters.size === 0 && this.waiters.get(workflowId) === waiters)
          this.waiters.delete(workflowId);
      },
    };
  }

  /** It has come, through this process, and is durable. Whoever waits for an event is handed its value. */
  arrived({ kind, workflowId, name }: Awaited, value?: EncodedValue): void {
    for (const waiter of this.waiters.get(workflowId) ?? []) {
      const { awaited } = waiter;
      if (awaited.kind !== kind || awaited.name !== name) continue;
      waiter.brought = value;
      wake(waiter);
    }
  }

  /** Something has come through another process: for these workflows; none named: nobody knows for which. */
  arrivedElsewhere(workflowIds: ReadonlySet<string>): void {
    const ids = workflowIds.size > 0 ? workflowIds : this.waiters.keys();
    for (const id of ids) this.waiters.get(id)?.forEach(wake);
  }

  /**
   * Wakes those whose time is up, and after each interval all who wait: something may have come unheard. Who is looking
   * just then waits for the next one; a database that takes longer than an interval to answer would be asked without a
   * break.
   */
  async tick(): Promise<number> {
    const now = this.clock.monotonic();
    const looks = now >= this.lookAt;
    if (looks) this.lookAt = now + this.spread(this.intervalMs);
    let nextAt = this.lookAt;
    for (const waiters of this.waiters.values()) {
      for (const waiter of waiters) {
        if (waiter.dueAt <= now) waiter.wake?.resolve(false);
        else if (looks && waiter.wake) wake(waiter);
        else nextAt = Math.min(nextAt, waiter.dueAt);
      }
    }
    return nextAt - now;
  }

  /** At shutdown: nothing comes any more. */
  failAll(error: Error): void {
    for (const waiters of this.waiters.values()) {
      for (const waiter of waiters) waiter.wake?.reject(error);
    }
    this.waiters.clear();
  }

  private async wait(waiter: Waiter, { withinMs, signal }: WaitEnd): Promise<boolean> {
    signal?.throwIfAborted();
    if (!waiter.isArmed) return true; // something has come since it was armed
    if (withinMs <= 0) return false;
    const woken = deferred<boolean>();
    const onAbort = (): void => woken.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    waiter.wake = woken;
    waiter.dueAt = this.clock.monotonic() + withinMs;
    if (withinMs < Infinity) this.wakeWithin(withinMs);
    try {
      return await woken.promise;
    } finally {
      waiter.wake = undefined;
      waiter.dueAt = Infinity;
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function wake(waiter: Waiter): void {
  waiter.isArmed = false;
  waiter.wake?.resolve(true);
}
