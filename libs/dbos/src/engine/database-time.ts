/** The database's clock as this process knows it: the clock that all executors share. */
import type { Clock } from '../core/clock.js';

export class DatabaseTime {
  private offsetMs = 0;

  constructor(private readonly clock: Clock) {
    this.offsetMs = clock.now() - clock.monotonic();
  }

  /** Epoch milliseconds by the database's clock, going on by the local monotonic one. */
  nowMs(): number {
    return this.clock.monotonic() + this.offsetMs;
  }

  /** Takes over a reading of the database's clock that was asked for at `sentAt` (monotonic). */
  adjust(databaseNow: Date, sentAt: number): void {
    const halfway = (sentAt + this.clock.monotonic()) / 2;
    this.offsetMs = databaseNow.getTime() - halfway;
  }
}
