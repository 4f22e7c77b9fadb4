/** Until when this executor may act for its workflows, judged by the clock that never jumps. */
import type { Clock } from '../core/clock.js';
import { deferred, type Deferred } from '../core/deferred.js';

export class Lease {
  private validUntil = Number.NEGATIVE_INFINITY;
  private renewal: Deferred<void> | undefined;
  private lastRenewedAt: number | undefined;

  constructor(
    private readonly clock: Clock,
    readonly durationMs: number,
  ) {}

  /** The database confirmed a heartbeat that was sent at `sentAt` (monotonic). */
  renewed(sentAt: number): void {
    this.validUntil = sentAt + this.durationMs;
    this.lastRenewedAt = sentAt;
    this.renewal?.resolve();
    this.renewal = undefined;
  }

  get isValid(): boolean {
    return this.clock.monotonic() < this.validUntil;
  }

  /** Since the heartbeat that was confirmed last was sent; null before the first. */
  get ageMs(): number | null {
    if (this.lastRenewedAt === undefined) return null;
    return Math.max(0, Math.round(this.clock.monotonic() - this.lastRenewedAt));
  }

  /** Nothing to wait for while the lease runs; otherwise resolves at its renewal or loss. */
  confirm(): Promise<void> | undefined {
    if (this.isValid) return undefined;
    this.renewal ??= deferred<void>();
    return this.renewal.promise;
  }

  /** This executor was declared dead. Whoever waits is let go: their runs are being interrupted. */
  expire(): void {
    this.validUntil = Number.NEGATIVE_INFINITY;
    this.renewal?.resolve();
    this.renewal = undefined;
  }
}
