// A clock that stands still until a test moves it; timers fire in order as it passes them.
import type { Clock, Timer } from '../../libs/dbos/src/core/clock.js';

interface Entry {
  readonly due: number;
  readonly fire: () => void;
}

export class FakeClock implements Clock {
  private elapsed = 0;
  private readonly entries = new Set<Entry>();

  constructor(private readonly startedAt = Date.now()) {}

  now(): number {
    return this.startedAt + this.elapsed;
  }

  monotonic(): number {
    return this.elapsed;
  }

  schedule(ms: number, fire: () => void): Timer {
    const entry = { due: this.elapsed + ms, fire };
    this.entries.add(entry);
    return { cancel: () => void this.entries.delete(entry) };
  }

  /** Milliseconds until each pending timer, soonest first. */
  get pending(): number[] {
    return [...this.entries].map(({ due }) => due - this.elapsed).toSorted((a, b) => a - b);
  }

  /** Moves on, firing what is due on the way. */
  advance(ms: number): void {
    const target = this.elapsed + ms;
    for (;;) {
      const next = [...this.entries]
        .filter(({ due }) => due <= target)
        .toSorted((a, b) => a.due - b.due)[0];
      if (!next) break;
      this.entries.delete(next);
      this.elapsed = Math.max(this.elapsed, next.due);
      next.fire();
    }
    this.elapsed = target;
  }
}
