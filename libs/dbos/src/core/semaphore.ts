/** Lets a bounded number of callers in at a time; the others wait in line. */
import { deferred, type Deferred } from './deferred.js';

export class Semaphore {
  private inside = 0;
  private readonly line: Array<Deferred<void>> = [];

  constructor(private readonly limit: number) {}

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
    this.line.push(turn);
    await turn.promise;
  }

  /** The place passes to whoever has waited longest. */
  private leave(): void {
    const next = this.line.shift();
    if (next) next.resolve();
    else this.inside -= 1;
  }
}
