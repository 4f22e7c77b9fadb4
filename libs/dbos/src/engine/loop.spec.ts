import { FakeClock } from '../../../../test/support/fake-clock.js';
import { deferred, type Deferred } from '../core/deferred.js';
import { SILENT_LOGGER } from '../core/logger.js';
import { Loop } from './loop.js';

const INTERVAL_MS = 1_000;
const LATE_AFTER_MS = 15_000;

class Duty extends Loop {
  work: () => Promise<void> = async () => {};

  constructor(clock: FakeClock) {
    const random = (): number => 0.5;
    super({ name: 'The duty', intervalMs: INTERVAL_MS, clock, logger: SILENT_LOGGER, random });
  }

  tick(): Promise<void> {
    return this.work();
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function started(work?: Duty['work']): Promise<{ duty: Duty; clock: FakeClock }> {
  const clock = new FakeClock();
  const duty = new Duty(clock);
  if (work) duty.work = work;
  duty.start();
  await nextTurn();
  await nextTurn();
  return { duty, clock };
}

describe('The health of a background duty', () => {
  it('says when it was last done', async () => {
    const { duty, clock } = await started();
    expect(duty.health()).toEqual({
      name: 'The duty',
      lastTickAt: new Date(clock.now()),
      failures: 0,
      lateByMs: 0,
    });
  });

  it('counts failures in a row, and forgets them with the first success', async () => {
    const { duty, clock } = await started(() => Promise.reject(new Error('no')));
    expect(duty.health()).toMatchObject({ failures: 1, lastTickAt: null });

    duty.work = async () => {};
    clock.advance(INTERVAL_MS);
    await nextTurn();
    await nextTurn();

    expect(duty.health()).toMatchObject({ failures: 0, lastTickAt: new Date(clock.now()) });
  });

  it('is late when a tick does not come to an end', async () => {
    let hanging: Deferred<void> | undefined;
    const { duty, clock } = await started(() => (hanging = deferred<void>()).promise);

    clock.advance(LATE_AFTER_MS);
    expect(duty.health().lateByMs).toBe(0);
    clock.advance(7);
    expect(duty.health().lateByMs).toBe(7);

    hanging?.resolve();
    await nextTurn();
    expect(duty.health().lateByMs).toBe(0);
  });

  it('is late when the tick that is due does not begin', async () => {
    const { duty, clock } = await started();
    clock.advance(INTERVAL_MS + LATE_AFTER_MS + 3); // the event loop does nothing else meanwhile
    expect(duty.health().lateByMs).toBe(3);
  });

  it('is not late when nothing is due any more', async () => {
    const { duty, clock } = await started();
    duty.halt();
    clock.advance(1_000_000);
    expect(duty.isRunning).toBe(false);
  });
});
