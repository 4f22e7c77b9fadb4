/** How long a caller outside of any workflow waits for a database that does not answer. Workflows wait for ever. */
import type { Clock } from '../core/clock.js';
import { DatabaseUnavailableError } from '../core/errors.js';

export class Patience {
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
      const timer = this.clock.schedule(this.limitMs, () =>
        reject(
          new DatabaseUnavailableError(
            `${what} had no answer from the database within ${this.limitMs} ms. ${whatThen}`,
          ),
        ),
      );
      work.then(
        (value) => {
          timer.cancel();
          resolve(value);
        },
        (error: Error) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }
}
