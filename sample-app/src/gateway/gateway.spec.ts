// The sample's payment gateway: unreliable in its answers, never in its books.
import { once } from 'node:events';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGateway } from './gateway-server.js';
import { Ledger } from './ledger.js';
import { randomMishaps, type Mishap } from './mishaps.js';

let directory: string;
let file: string;
let gateway: Server | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gateway-'));
  file = join(directory, 'ledger.log');
});

afterEach(async () => {
  gateway?.closeAllConnections();
  gateway?.close();
  await rm(directory, { recursive: true });
});

/** @returns a caller that posts one charge, `undefined` when no answer comes */
async function openGateway(ledger: Ledger, ...mishaps: Mishap[]) {
  gateway = createGateway({ ledger, mishap: () => mishaps.shift() ?? 'none' });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  const { port } = gateway.address() as AddressInfo;
  return (key: string, card = 'tok_visa') =>
    fetch(`http://127.0.0.1:${port}/charges`, {
      method: 'POST',
      headers: { 'Idempotency-Key': key },
      body: JSON.stringify({ orderId: 'order-1', card, amountCents: 4900 }),
    }).catch(() => undefined);
}

describe('The payment gateway', () => {
  it('takes money once for a key, and gives every caller the same answer', async () => {
    const ledger = new Ledger();
    const post = await openGateway(ledger);

    const answers = await Promise.all([post('key'), post('key'), post('key')]);

    const [charge] = ledger.charges;
    for (const answer of answers) {
      expect(answer?.status).toBe(201);
      expect(await answer?.json()).toEqual({ chargeId: charge?.chargeId, amountCents: 4900 });
    }
    expect(charge).toMatchObject({ calls: 3, captures: 1 });
  });

  it('does nothing while it is out of order', async () => {
    const ledger = new Ledger();
    const post = await openGateway(ledger, 'unavailable');

    expect((await post('key'))?.status).toBe(503);
    expect(ledger.charges).toEqual([expect.objectContaining({ calls: 1, captures: 0 })]);
  });

  it('has taken the money when its answer is lost', async () => {
    const ledger = new Ledger();
    const post = await openGateway(ledger, 'lost answer');

    expect(await post('key')).toBeUndefined();
    expect(ledger.charges).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
  });

  it('declines the card for testing, and stays with it', async () => {
    const ledger = new Ledger();
    const post = await openGateway(ledger);

    expect((await post('key', 'tok_declined'))?.status).toBe(402);
    expect((await post('key', 'tok_visa'))?.status).toBe(402);
    expect(ledger.charges).toEqual([expect.objectContaining({ calls: 2, captures: 0 })]);
  });

  it('refuses a call without a key', async () => {
    const post = await openGateway(new Ledger());

    expect((await post(''))?.status).toBe(400);
  });
});

describe('Its ledger', () => {
  it('is the same after a restart', () => {
    const before = new Ledger(file);
    before.call('a', 'order-1', 100);
    before.capture('a');
    before.call('b', 'order-2', 200);
    before.decline('b', 'insufficient funds');

    expect(new Ledger(file).charges).toEqual(before.charges);
  });

  it('lacks only the line that was being written when the process was killed', async () => {
    new Ledger(file).call('a', 'order-1', 100);
    await appendFile(file, '{"type":"capture","key":"a","charg');

    const after = new Ledger(file);
    after.capture('a');

    expect(after.charges).toEqual([expect.objectContaining({ calls: 1, captures: 1 })]);
    expect(new Ledger(file).charges).toEqual(after.charges);
  });
});

describe('Its mishaps', () => {
  it('are the same for the same seed, and about as many as asked for', () => {
    const draw = (seed: number): Mishap[] => {
      const mishap = randomMishaps(0.3, seed);
      return Array.from({ length: 1_000 }, mishap);
    };

    const mishaps = draw(7);

    expect(draw(7)).toEqual(mishaps);
    expect(draw(8)).not.toEqual(mishaps);
    expect(mishaps.filter((mishap) => mishap !== 'none').length).toBeGreaterThan(250);
    expect(mishaps.filter((mishap) => mishap !== 'none').length).toBeLessThan(350);
  });
});
