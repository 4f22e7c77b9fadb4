// Real processes on one database: they start one id together, take over from one another, freeze and wake.
import { ChildApp } from '../support/child-app.js';
import type { ChildSettings } from '../support/child-protocol.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';

const FIVE_ONCE = { 'step 0': 1, 'step 1': 1, 'step 2': 1, 'step 3': 1, 'step 4': 1 };
const FIVE_RESULTS = 'result 0, result 1, result 2, result 3, result 4';

/** Long enough that nobody is taken for dead who only has no time. */
const LEASE_MS = 4_000;

describe('Processes on one database', () => {
  let database: TestDatabase;
  let ledger: Ledger;
  const children = new Set<ChildApp>();

  async function begin(settings: Omit<ChildSettings, 'url'> = {}): Promise<ChildApp> {
    const child = ChildApp.begin({ url: database.url, ...settings });
    children.add(child);
    return child;
  }

  async function start(settings: Omit<ChildSettings, 'url'> = {}): Promise<ChildApp> {
    const child = await begin(settings);
    await child.isReady();
    return child;
  }

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
  });

  afterEach(async () => {
    await Promise.all([...children].map((child) => child.kill()));
    children.clear();
    // What a test leaves behind is not for the next one to recover.
    await ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger');
  });

  afterAll(async () => {
    await ledger.close();
    await database.drop();
  });

  /** When the process first did something, by the database's clock. */
  async function firstEntryAt(pid: number): Promise<number> {
    const entries = await ledger.entries();
    const first = entries.find((entry) => entry.pid === pid);
    expect(first).toBeDefined();
    return first?.at.getTime() ?? 0;
  }

  async function databaseNow(): Promise<number> {
    const [row] = await ledger.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    return row?.now.getTime() ?? 0;
  }

  it('B3: run one body of each id that both start at the same time, and both get its result', async () => {
    const [one, other] = await Promise.all([start(), start()]);
    const ids = Array.from({ length: 20 }, (_, index) => `B3-${index}`);

    await Promise.all(
      ids.flatMap((id) => [
        one.startWorkflow('FiveSteps', id),
        other.startWorkflow('FiveSteps', id),
      ]),
    );

    for (const id of ids) {
      expect([await one.result(id), await other.result(id)]).toEqual([FIVE_RESULTS, FIVE_RESULTS]);
      expect(await ledger.counts(id)).toEqual(FIVE_ONCE);
    }
  });

  it('recover what a dead one left once, although two of them try', async () => {
    const settings = { leaseMs: LEASE_MS };
    const [survivor] = await Promise.all([start(settings), start(settings)]);
    const victim = await start(settings);
    await victim.stopAt('step 2 begun');
    const ids = Array.from({ length: 20 }, (_, index) => `recovered-${index}`);
    await Promise.all(ids.map((id) => victim.startWorkflow('FiveSteps', id)));
    // Both steps of all of them are checkpointed: nothing but step 2 can run now.
    await eventually(async () =>
      expect(await ledger.query('SELECT FROM dbos.steps')).toHaveLength(40),
    );

    await victim.kill();

    for (const id of ids) {
      expect(await survivor.result(id)).toBe(FIVE_RESULTS);
      expect(await ledger.counts(id)).toEqual(FIVE_ONCE);
    }
    expect(
      await ledger.query('SELECT DISTINCT recovery_attempts, epoch FROM dbos.workflows'),
    ).toEqual([{ recovery_attempts: 1, epoch: 2 }]);
  });

  it('take over from one that is frozen beyond its lease, which on waking begins no body and writes nothing', async () => {
    const survivor = await start({ leaseMs: LEASE_MS });
    const frozen = await start({ leaseMs: LEASE_MS });
    await frozen.stopAt('tick 3 begun');
    await frozen.startWorkflow('Ticking', 'zombie', 20, 50);
    await frozen.reached('tick 3 begun');

    frozen.freeze();
    await eventually(() => firstEntryAt(survivor.pid));
    const wokenAt = await databaseNow();
    frozen.wake();
    await frozen.goOnFrom('tick 3 begun');

    expect(await survivor.result('zombie')).toBe((19 * 20) / 2);
    expect(await frozen.result('zombie')).toBe((19 * 20) / 2);
    const entries = await ledger.entries();
    expect(entries.filter(({ pid, at }) => pid === frozen.pid && at.getTime() > wokenAt)).toEqual(
      [],
    );
    const counts = Object.entries(await ledger.counts('zombie'));
    expect(counts.filter(([, count]) => count > 1)).toEqual([['tick 3', 2]]); // which the freeze interrupted
  });

  it('refuse the checkpoint that a frozen one had under way when it was taken over', async () => {
    const survivor = await start({ leaseMs: LEASE_MS });
    const frozen = await start({ leaseMs: LEASE_MS });
    await frozen.stopAt('checkpoint 2 unsent');
    await frozen.startWorkflow('FiveSteps', 'late');
    await frozen.reached('checkpoint 2 unsent');

    frozen.freeze();
    expect(await survivor.result('late')).toBe(FIVE_RESULTS);
    frozen.wake();
    await frozen.goOnFrom('checkpoint 2 unsent');

    expect(await frozen.result('late')).toBe(FIVE_RESULTS);
    expect(await ledger.counts('late')).toEqual({ ...FIVE_ONCE, 'step 2': 2 });
    expect(
      await ledger.query(
        `SELECT step_id, epoch FROM dbos.steps WHERE workflow_id = 'late' ORDER BY step_id`,
      ),
    ).toEqual([0, 1, 2, 3, 4].map((step) => ({ step_id: `${step}`, epoch: step < 2 ? 1 : 2 })));
  });

  it('let one that was declared dead while it was frozen work again once it woke', async () => {
    const survivor = await start({ leaseMs: LEASE_MS });
    const frozen = await start({ leaseMs: LEASE_MS });
    await frozen.startWorkflow('Ticking', 'before', 40, 50);
    await eventually(async () => expect((await ledger.entries()).length).toBeGreaterThan(1));
    frozen.freeze();
    await eventually(() => firstEntryAt(survivor.pid));
    frozen.wake();
    await survivor.kill();

    await frozen.startWorkflow('FiveSteps', 'after');

    expect(await frozen.result('after')).toBe(FIVE_RESULTS);
    expect(await frozen.result('before')).toBe((39 * 40) / 2);
  });

  it.each([true, false])(
    'refuse a second one under the same fixed id while the first lives (session: %s)',
    async (session) => {
      const first = await start({ executorId: 'shop-0', session });

      const second = await begin({ executorId: 'shop-0', session });

      await expect(second.isReady()).rejects.toMatchObject({ code: 'DBOS_EXECUTOR_ID_TAKEN' });
      await first.startWorkflow('FiveSteps', 'still');
      expect(await first.result('still')).toBe(FIVE_RESULTS);
    },
  );

  it('claim nothing more under an id that another process has taken over while they were frozen', async () => {
    const frozen = await start({ executorId: 'shop-0', leaseMs: 500 });
    frozen.freeze();
    const successor = await start({
      executorId: 'shop-0',
      leaseMs: 500,
      maxConcurrentWorkflows: 1,
    });
    frozen.wake();
    const ids = Array.from({ length: 20 }, (_, index) => `shared-${index}`);

    await Promise.all(ids.map((id) => successor.startWorkflow('FiveSteps', id)));

    for (const id of ids) expect(await successor.result(id)).toBe(FIVE_RESULTS);
  });

  it('take their own work back at once after a SIGKILL when they come back under the same id', async () => {
    const settings = { executorId: 'shop-0', session: true, leaseMs: 20_000 };
    const killed = await start(settings);
    await killed.stopAt('step 2 begun');
    await killed.startWorkflow('FiveSteps', 'own');
    await killed.reached('step 2 begun');

    await killed.kill();
    const restarted = await start(settings);
    const upAt = await databaseNow();

    expect(await restarted.result('own')).toBe(FIVE_RESULTS);
    expect((await firstEntryAt(restarted.pid)) - upAt).toBeLessThan(10_000); // and not when the lease has run out
  });

  it('take their own work back at once after a SIGKILL on the same machine, without any id in common', async () => {
    // The lease is longer than the server has been up, so neither it nor the free lock alone may decide.
    const settings = { session: true, leaseMs: 3_600_000 };
    const killed = await start(settings);
    await killed.stopAt('step 2 begun');
    await killed.startWorkflow('FiveSteps', 'left behind');
    await killed.reached('step 2 begun');

    await killed.kill();
    const restarted = await start(settings);

    expect(await restarted.result('left behind')).toBe(FIVE_RESULTS);
  });
});
