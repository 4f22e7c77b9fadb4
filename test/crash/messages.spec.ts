// kill -9 of whoever sends and of whoever receives: every message arrives once, in order.
import { ChildApp } from '../support/child-app.js';
import type { ChildSettings } from '../support/child-protocol.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { Ledger } from '../support/ledger.js';

const NUMBERS = [0, 1, 2, 3, 4];
/** Steps of the sender are its sendings; a receiving takes two ids, and what is done with the message one. */
const RECEIVED = NUMBERS.map((number) => 3 * number + 1);

const POINTS = [
  ...[0, 2].flatMap((step) => [`send ${step} unsent`, `send ${step} committed`]),
  ...[RECEIVED[0], RECEIVED[2]].flatMap((step) => [
    `receive ${step} unsent`,
    `receive ${step} committed`,
  ]),
];

describe('B53: A process killed with SIGKILL', () => {
  let database: TestDatabase;
  let ledger: Ledger;
  let child: ChildApp;

  const startChild = (settings: Partial<ChildSettings> = {}): Promise<ChildApp> =>
    ChildApp.start({ url: database.url, session: true, ...settings });

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
    child = await startChild({ executorId: 'shop-0' });
  });

  afterAll(async () => {
    await child.close();
    await ledger.close();
    await database.drop();
  });

  /** What the receiver has done, as the outside world saw it. */
  async function used(workflowId: string): Promise<string[]> {
    return (await ledger.entries(workflowId)).map(({ step }) => step);
  }

  it.each(POINTS)('at "%s" neither loses nor repeats a message', async (point) => {
    const [receiver, sender] = [`receiver at ${point}`, `sender at ${point}`];
    await child.stopAt(point);
    await child.startWorkflow('Receiving', receiver, NUMBERS.length);
    await child.startWorkflow('Sending', sender, receiver, NUMBERS.length);
    await child.reached(point);

    await child.kill();
    child = await startChild({ executorId: 'shop-0' });

    expect(await child.result(receiver)).toEqual(NUMBERS);
    await child.result(sender);
    // The body that was at work when the process died runs again; no message is left out, or comes in another order.
    expect([...new Set(await used(receiver))]).toEqual(NUMBERS.map((n) => `number ${n}`));
    const messages = await ledger.query(
      'SELECT consumed_by FROM dbos.messages WHERE workflow_id = $1 ORDER BY seq',
      [receiver],
    );
    expect(messages).toEqual(RECEIVED.map((step) => ({ consumed_by: String(step) })));
  });

  it.each([
    ['in memory', 60_000],
    ['parked', 0],
  ])(
    'again and again, waiting %s, neither loses nor repeats a message',
    async (how, parkAfterMs) => {
      const [receiver, sender] = [`receiver ${how}`, `sender ${how}`];
      const count = 40;
      await child.startWorkflow('Receiving', receiver, count);
      const point = (step: number): string => `send ${step} committed`;
      let other = await startChild({ options: { parkAfterMs } });
      await other.stopAt(point(5));
      await other.startWorkflow('Sending', sender, receiver, count);
      for (const step of [5, 20]) {
        if (step > 5) await other.stopAt(point(step));
        await Promise.race([other.reached(point(step)), child.result(receiver)]);
        await other.kill();
        other = await startChild({ options: { parkAfterMs } });
        await child.kill();
        child = await startChild({ executorId: 'shop-0', options: { parkAfterMs } });
      }
      const numbers = Array.from({ length: count }, (_, number) => number);
      expect(await child.result(receiver)).toEqual(numbers);
      await other.close();
      expect([...new Set(await used(receiver))]).toEqual(
        numbers.map((number) => `number ${number}`),
      );
    },
  );
});
