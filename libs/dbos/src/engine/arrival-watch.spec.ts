// When those who wait are told to look again, and when they are left alone.
import { FakeClock } from '../../../../test/support/fake-clock.js';
import { SILENT_LOGGER } from '../core/logger.js';
import { ArrivalWatch, type Awaited, type Waiting } from './arrival-watch.js';

const INTERVAL_MS = 1_000;
const LETTER: Awaited = { kind: 'message', workflowId: 'a', name: 'letters' };
const FOR_EVER = { withinMs: Infinity };

describe('Whoever waits for an arrival', () => {
  let clock: FakeClock;
  let watch: ArrivalWatch;

  beforeEach(() => {
    clock = new FakeClock();
    const noJitter = (): number => 0.5;
    watch = new ArrivalWatch({
      intervalMs: INTERVAL_MS,
      clock,
      logger: SILENT_LOGGER,
      random: noJitter,
    });
    watch.start();
  });

  afterEach(() => watch.halt());

  /** Has looked and found nothing. */
  function looked(): Waiting {
    const waiting = watch.register(LETTER);
    waiting.arm();
    return waiting;
  }

  /** Whether the wait has ended by now. */
  async function hasEnded(wait: Promise<boolean>): Promise<boolean> {
    let ended = false;
    void wait.then(() => (ended = true));
    await new Promise((resolve) => setImmediate(resolve));
    return ended;
  }

  /** The interval is over, and the loop has looked at its clock. */
  async function interval(): Promise<void> {
    clock.advance(INTERVAL_MS);
    await watch.tick();
  }

  it('looks again after an interval', async () => {
    const wait = looked().wait(FOR_EVER);
    await interval();
    expect(await wait).toBe(true);
  });

  it('looks again at once when something arrived during the look', async () => {
    const waiting = looked();
    watch.arrived(LETTER);
    expect(await waiting.wait(FOR_EVER)).toBe(true);
  });

  it('looks again at once when something arrived elsewhere during the look', async () => {
    const waiting = looked();
    watch.arrivedElsewhere(new Set());
    expect(await waiting.wait(FOR_EVER)).toBe(true);
  });

  it('waits all the same when a look took longer than an interval', async () => {
    await watch.tick();
    const waiting = looked();
    await interval();
    const wait = waiting.wait(FOR_EVER);
    expect(await hasEnded(wait)).toBe(false);
    await interval();
    expect(await wait).toBe(true);
  });
});
