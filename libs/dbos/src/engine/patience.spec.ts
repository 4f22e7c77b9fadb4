// Callers that wait for the database share one timer.
import { FakeClock } from '../../../../test/support/fake-clock.js';
import { deferred } from '../core/deferred.js';
import { DatabaseUnavailableError } from '../core/errors.js';
import { Patience } from './patience.js';

/** Until what was settled just now has been told on. */
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const never = new Promise<never>(() => {});

function open() {
  const clock = new FakeClock();
  return { clock, patience: new Patience(clock, 1_000) };
}

/** What became of a caller so far. */
function watch(promise: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'waits' };
  promise.then(
    (value) => (seen.outcome = value),
    (error: unknown) => (seen.outcome = error),
  );
  return seen;
}

describe('Patience', () => {
  it('gives up each caller when its own time is over', async () => {
    const { clock, patience } = open();
    const first = watch(patience.with(never, 'The first', 'Wait.'));
    clock.advance(600);
    const second = watch(patience.with(never, 'The second', 'Wait.'));
    clock.advance(400);
    await tick();
    expect(first.outcome).toBeInstanceOf(DatabaseUnavailableError);
    expect(second.outcome).toBe('waits');
    clock.advance(600);
    await tick();
    expect(second.outcome).toBeInstanceOf(DatabaseUnavailableError);
  });

  it('gives up who is left when the first was answered in time', async () => {
    const { clock, patience } = open();
    const work = deferred<string>();
    const first = watch(patience.with(work.promise, 'The first', 'Wait.'));
    clock.advance(10);
    const second = watch(patience.with(never, 'The second', 'Wait.'));
    work.resolve('done');
    await tick();
    clock.advance(1_000);
    await tick();
    expect([first.outcome, second.outcome]).toEqual(['done', expect.any(DatabaseUnavailableError)]);
  });

  it('leaves no timer when nobody waits', async () => {
    const { clock, patience } = open();
    await patience.with(Promise.resolve('done'), 'It', 'Wait.');
    expect(clock.pending).toEqual([]);
  });
});
