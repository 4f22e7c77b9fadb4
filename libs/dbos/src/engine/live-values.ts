/** Values that come one by one, as whoever takes them likes it. */
import { Observable, type Subscriber } from 'rxjs';

/** Ends for good with `return`, whether it waits for a value or not. */
export interface LiveIterator<T> extends AsyncIterator<T, undefined, undefined> {
  return(): Promise<IteratorResult<T, undefined>>;
}

/**
 * An `Observable` for who subscribes, an async iterable for who takes one value at a time; each subscription and each
 * loop begins anew, and stops when it is left. A loop takes the next value when it comes for it. An observable cannot be
 * slowed down: it gives each value as soon as it is there.
 *
 * @example
 * ```ts
 * for await (const percent of workflows.readStream<number>(id, 'percent')) console.log(percent);
 * workflows.readStream<number>(id, 'percent').pipe(map((data) => ({ data })));
 * ```
 */
export class LiveValues<T> extends Observable<T> implements AsyncIterable<T> {
  /** @internal */
  constructor(private readonly open: () => LiveIterator<T>) {
    super((subscriber) => {
      const iterator = open();
      void pump(iterator, subscriber);
      return () => void iterator.return();
    });
  }

  [Symbol.asyncIterator](): LiveIterator<T> {
    return this.open();
  }
}

async function pump<T>(iterator: LiveIterator<T>, subscriber: Subscriber<T>): Promise<void> {
  try {
    for (;;) {
      const next = await iterator.next();
      if (subscriber.closed) return;
      if (next.done) return subscriber.complete();
      subscriber.next(next.value);
    }
  } catch (error) {
    subscriber.error(error);
  }
}
