// The body of a step whose attempts a test ends one by one.
import type { StepContext } from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';

export class Attempts {
  /** Of the attempts that have begun. */
  readonly contexts: StepContext[] = [];
  private readonly ends: Array<Deferred<string>> = [];

  readonly body = (context: StepContext): Promise<string> => {
    this.contexts.push(context);
    return this.end(context.attempt).promise;
  };

  get count(): number {
    return this.contexts.length;
  }

  /** What ends the given attempt (1 is the first), also before it has begun. */
  end(attempt: number): Deferred<string> {
    return (this.ends[attempt] ??= deferred<string>());
  }
}
