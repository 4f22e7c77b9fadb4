/** How long a caller outside of any workflow waits for a database that does not answer. Workflows wait for ever. */
import type { Clock, Timer } from '../core/clock.js';
import { DatabaseUnavailableError } from '../core/errors.js';

/** A caller that waits, and until when (monotonic). */
interface Waiting {
  readonly dueAt: number;
  readonly giveUp: () => void;
}

/** All wait equally long, so who came first is due first: one timer for the first of them does for all. */
export class Patience {
  private readonly waiting = new Set<Waiting>();
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    readonly limitMs: number,
  ) {}

  /**
   * The work itself is not stopped when the caller gives up.
   * @param whatThen tells the caller what may have become of the work and what to do
   * @throws DatabaseUnavailableError
   */
  with<T>(work: Promise<T>, what: string, whatThen: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = this.begin(() =>
        reject(
          new DatabaseUnavailableError(
            `${what} had no answer from the database within ${this.limitMs} ms. ${whatThen}`,
          ),
        ),
      );
      work.then(
        (value) => {
          ended();
          resolve(value);
        },
        (error: Error) => {
          ended();
          reject(error);
        },
      );
    });
  }

  private begin(giveUp: () => void): () => void {
    const entry = { dueAt: this.clock.monotonic() + this.limitMs, giveUp };
    this.waiting.add(entry);
    this.timer ??= this.clock.schedule(this.limitMs, () => this.look());
    return () => {
      this.waiting.delete(entry);
      if (this.waiting.size > 0) return;
      this.timer?.cancel();
      this.timer = undefined;
    };
  }

  private look(): void {
    this.timer = undefined;
    const now = this.clock.monotonic();
    for (const entry of this.waiting) {
      if (entry.dueAt > now) {
        this.timer = this.clock.schedule(entry.dueAt - now, () => this.look());
        return;
      }
      this.waiting.delete(entry);
      entry.giveUp();
    }
  }
}
