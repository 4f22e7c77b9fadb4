// A bounded number at a time, in the order of their coming, and a word when the line stands still.
import { setImmediate as tick } from 'node:timers/promises';
import { FakeClock } from '../../../../test/support/fake-clock.js';
import { deferred } from './deferred.js';
import { Semaphore } from './semaphore.js';

function semaphore(limit: number) {
  const clock = new FakeClock();
  const reports: unknown[] = [];
  const places = new Semaphore(limit, {
    clock,
    longWaitMs: 5_000,
    report: (line) => reports.push(line),
  });
  return { clock, reports, places };
}

it('lets in as many as there are places, the others in the order of their coming', async () => {
  const { places } = semaphore(2);
  const begun: number[] = [];
  const ends = [0, 1, 2, 3].map((number) => {
    const end = deferred<void>();
    void places.within(() => {
      begun.push(number);
      return end.promise;
    });
    return end;
  });
  await tick();
  expect(begun).toEqual([0, 1]);

  ends[1]!.resolve();
  await tick();

  expect(begun).toEqual([0, 1, 2]);
});

it('gives the place back when the work fails', async () => {
  const { places } = semaphore(1);
  await expect(places.within(() => Promise.reject(new Error('no')))).rejects.toThrow('no');

  expect(await places.within(async () => 'yes')).toBe('yes');
});

it('reports a line whose first has waited for long, and again after as long', async () => {
  const { clock, reports, places } = semaphore(1);
  void places.within(() => new Promise(() => undefined));
  void places.within(async () => undefined);
  clock.advance(4_999);
  expect(reports).toEqual([]);

  clock.advance(1);
  clock.advance(5_000);

  expect(reports).toEqual([
    { limit: 1, waiting: 1 },
    { limit: 1, waiting: 1 },
  ]);
});

it('reports no line that moves, and watches none that is empty', async () => {
  const { clock, reports, places } = semaphore(1);
  const first = deferred<void>();
  const second = deferred<void>();
  void places.within(() => first.promise);
  void places.within(() => second.promise);
  clock.advance(3_000);
  void places.within(async () => undefined);
  first.resolve();
  await tick();
  clock.advance(4_000);
  expect(reports).toEqual([]);

  second.resolve();
  await tick();

  expect(clock.pending).toEqual([]);
});
