/** A background duty: `tick()` is the duty, the base class owns when it happens. */
import { cleanContext } from '../core/clean-context.js';
import type { Clock, Timer } from '../core/clock.js';

import type { Logger } from '../core/logger.js';
import { loggable } from '../core/redaction.js';

export interface LoopSettings {
  readonly name: string;
  /** Wait between two ticks when nothing wakes the loop earlier. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** How a background duty is. */
export interface LoopReport {
  readonly name: string;
  /** When it was last done; null when it never was. */
  readonly lastTickAt: Date | null;
  /** How often in a row it has failed since. */
  readonly failures: number;
  /** How long it has been overdue, or under way, beyond what is usual; 0 for not at all. */
  readonly lateByMs: number;
}

/** A duty this long overdue, or under way, is late: no statement is waited for so long. */
const LATE_AFTER_MS = 15_000;
/** Longest wait after failing ticks: work goes on soon after the database is well again. */
const MAX_BACKOFF_MS = 2_000;
/** Share of the interval by which loops of several processes spread. */
const JITTER = 0.1;

export abstract class Loop {
  private readonly inCleanContext = cleanContext();
  private timer: Timer | undefined;
  private immediate: NodeJS.Immediate | undefined;
  private ticking: Promise<void> | undefined;
  /** When the tick that is under way began (monotonic). */
  private tickingSince = 0;
  private wokenWhileTicking = false;
  private running = false;
  private failures = 0;
  /** When the next tick is due at the latest (monotonic). */
  private dueAt = Number.POSITIVE_INFINITY;

  /** When the last tick ended well; for health reports. */
  lastTickAt: Date | undefined;

  constructor(private readonly settings: LoopSettings) {}

  /** Does the duty once. May return the milliseconds until it should be done again. */
  abstract tick(): Promise<number | void>;

  /** The first tick comes in a later turn of the event loop, never within the call. */
  start(): void {
    this.running = true;
    this.wake();
  }

  /** As `start`, for a loop that has ticked just now: the first tick comes after an interval. */
  goOn(): void {
    this.running = true;
    this.wakeWithin(this.spread(this.settings.intervalMs));
  }

  /** Ticks as soon as possible; many wakes before a tick are one. */
  wake(): void {
    if (!this.running) return;
    if (this.ticking) {
      this.wokenWhileTicking = true;
      return;
    }
    this.timer?.cancel();
    this.immediate ??= setImmediate(() => this.inCleanContext(() => this.run()));
  }

  /** Ticks after `ms` at the latest. */
  wakeWithin(ms: number): void {
    const at = this.settings.clock.monotonic() + ms;
    if (!this.running || at >= this.dueAt) return;
    this.dueAt = at;
    if (!this.ticking && !this.immediate) this.arm();
  }

  private arm(): void {
    this.timer?.cancel();
    const ms = Math.max(0, this.dueAt - this.settings.clock.monotonic());
    this.timer = this.settings.clock.schedule(ms, () => this.wake());
  }

  /** No tick begins any more. */
  halt(): void {
    this.running = false;
    this.timer?.cancel();
    if (this.immediate) clearImmediate(this.immediate);
    this.immediate = undefined;
  }

  /** Halts and waits for the tick that is under way. */
  async stop(): Promise<void> {
    this.halt();
    await this.ticking;
  }

  get isRunning(): boolean {
    return this.running;
  }

  protected get isTicking(): boolean {
    return this.ticking !== undefined;
  }

  health(): LoopReport {
    const dueAt = this.ticking ? this.tickingSince : this.dueAt;
    return {
      name: this.settings.name,
      lastTickAt: this.lastTickAt ?? null,
      failures: this.failures,
      lateByMs: Math.max(0, this.settings.clock.monotonic() - dueAt - LATE_AFTER_MS),
    };
  }

  private run(): void {
    this.immediate = undefined;
    this.tickingSince = this.settings.clock.monotonic();
    this.wokenWhileTicking = false;
    this.dueAt = Number.POSITIVE_INFINITY;
    this.ticking = this.tickOnce().then((pauseMs) => {
      this.ticking = undefined;
      if (!this.running) return;
      if (this.wokenWhileTicking && this.failures === 0) return this.wake();
      this.dueAt = Math.min(this.dueAt, this.settings.clock.monotonic() + pauseMs);
      this.arm();
    });
  }

  private async tickOnce(): Promise<number> {
    try {
      const pauseMs = await this.tick();
      this.failures = 0;
      this.lastTickAt = new Date(this.settings.clock.now());
      return pauseMs ?? this.spread(this.settings.intervalMs);
    } catch (error) {
      this.failures += 1;
      if (this.running) {
        this.settings.logger.warn(`${this.settings.name} failed and will be tried again`, {
          error: loggable(error),
          failures: this.failures,
        });
      }
      const backoff = this.settings.intervalMs * 2 ** Math.min(this.failures - 1, 10);
      return this.spread(Math.min(backoff, Math.max(this.settings.intervalMs, MAX_BACKOFF_MS)));
    }
  }

  protected get intervalMs(): number {
    return this.settings.intervalMs;
  }

  protected spread(ms: number): number {
    const random = (this.settings.random ?? Math.random)();
    return ms * (1 - JITTER + 2 * JITTER * random);
  }
}
