/** Lets a bounded number of callers in at a time; the others wait in line, and a line that stands still is told of. */
import type { Clock, Timer } from './clock.js';
import { deferred, type Deferred } from './deferred.js';

export interface LineWatch {
  readonly clock: Clock;
  /** A wait that is longer than this is reported, in milliseconds, and again after as long. */
  readonly longWaitMs: number;
  readonly report: (line: { readonly limit: number; readonly waiting: number }) => void;
}

interface Waiting {
  readonly since: number;
  readonly turn: Deferred<void>;
}

export class Semaphore {
  private inside = 0;
  private readonly line: Waiting[] = [];
  private timer: Timer | undefined;

  constructor(
    private readonly limit: number,
    private readonly watch: LineWatch,
  ) {}

  /** Runs `work` as soon as there is a place for it. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    await this.enter();
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  private async enter(): Promise<void> {
    if (this.inside < this.limit) {
      this.inside += 1;
      return;
    }
    const turn = deferred<void>();
    this.line.push({ since: this.watch.clock.monotonic(), turn });
    this.timer ??= this.lookIn(this.watch.longWaitMs);
    await turn.promise;
  }

  /** The place passes to whoever has waited longest. */
  private leave(): void {
    const next = this.line.shift();
    if (next) next.turn.resolve();
    else this.inside -= 1;
    if (this.line.length > 0) return;
    this.timer?.cancel();
    this.timer = undefined;
  }

  private lookIn(ms: number): Timer {
    const { clock, longWaitMs, report } = this.watch;
    return clock.schedule(ms, () => {
      const waitedMs = clock.monotonic() - this.line[0]!.since;
      const isLong = waitedMs >= longWaitMs;
      if (isLong) report({ limit: this.limit, waiting: this.line.length });
      this.timer = this.lookIn(isLong ? longWaitMs : longWaitMs - waitedMs);
    });
  }
}
