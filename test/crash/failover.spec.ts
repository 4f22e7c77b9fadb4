// Failover between live processes: killed ones, frozen ones, replaced ones, behind a pooler, and with clocks that disagree.
//
// FAILOVER_ROUNDS=10 for figures; they are printed as they are found.
import { ChildApp } from '../support/child-app.js';
import type { ChildSettings } from '../support/child-protocol.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';
import { PgBouncer } from '../support/pgbouncer.js';

const ROUNDS = Number(process.env['FAILOVER_ROUNDS'] ?? 1);
const FIVE_ONCE = { 'step 0': 1, 'step 1': 1, 'step 2': 1, 'step 3': 1, 'step 4': 1 };
const RESULT = 'result 0, result 1, result 2, result 3, result 4';
const HOUR_MS = 3_600_000;
const LEASE_MS = 3_000;
/** What a busy machine may add to any of the spans here. */
const SLACK_MS = 8_000;
/** Processes take seconds to come up on a busy machine. */
const ROUND_MS = 60_000;

let database: TestDatabase;
let ledger: Ledger;
const children: ChildApp[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
});

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()));
  await ledger.query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors, public.test_ledger');
});

afterAll(async () => {
  await ledger.close();
  await database.drop();
});

async function start(settings: Partial<ChildSettings> = {}): Promise<ChildApp> {
  const child = ChildApp.begin({ url: database.url, ...settings });
  children.push(child);
  await child.isReady();
  return child;
}

function startMany(settings: ReadonlyArray<Partial<ChildSettings>>): Promise<ChildApp[]> {
  return Promise.all(settings.map((each) => start(each)));
}

async function kill(child: ChildApp): Promise<void> {
  children.splice(children.indexOf(child), 1);
  await child.kill();
}

async function databaseNow(): Promise<number> {
  const [row] = await ledger.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return row!.now.getTime();
}

/** Free locks say something once the server has run for a lease: until then their holders may not be back. */
async function serverHasRunFor(leaseMs: number): Promise<void> {
  await eventually(async () => {
    const [row] = await ledger.query<{ ms: number }>(
      'SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 * 1000 AS ms',
    );
    expect(row!.ms).toBeGreaterThan(leaseMs);
  });
}

const idsOf = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

/** Workflows of this process that stand before their third step, with two on record. */
async function standingAtThird(child: ChildApp, ids: readonly string[]): Promise<void> {
  await child.stopAt('step 2 begun');
  await Promise.all(ids.map((id) => child.startWorkflow('FiveSteps', id)));
  await eventually(async () => {
    const rows = await ledger.query('SELECT FROM dbos.steps WHERE workflow_id = ANY ($1)', [ids]);
    expect(rows).toHaveLength(2 * ids.length);
  });
}

/** Milliseconds from a kill until the last of the workflows is at work elsewhere. */
async function failOver(victim: ChildApp, ids: readonly string[]): Promise<number> {
  await standingAtThird(victim, ids);
  const diedAt = await databaseNow();
  await kill(victim);
  for (const id of ids) expect(await children[0]!.result(id)).toBe(RESULT);
  const entries = await ledger.entries();
  const thirds = entries.filter(
    ({ workflowId, step }) => step === 'step 2' && ids.includes(workflowId),
  );
  return Math.max(...thirds.map(({ at }) => at.getTime())) - diedAt;
}

function tell(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;
  process.stdout.write(
    `${what}: ${times.length} kills, median ${seconds(sorted[Math.floor(sorted.length / 2)]!)}, worst ${seconds(sorted.at(-1)!)}\n`,
  );
}

describe('kill -9 of one of three executors', () => {
  it.each([
    ['within seconds where it held a session', { session: true, leaseMs: 20_000 }, 20_000],
    ['once its lease has run out where it held none', { leaseMs: LEASE_MS }, LEASE_MS + SLACK_MS],
  ] as const)(
    'hands its workflows to the others %s',
    async (_, settings, boundMs) => {
      await startMany([settings, settings]);
      if ('session' in settings) await serverHasRunFor(settings.leaseMs);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const ids = idsOf(`round ${round}`, 10);
        times.push(await failOver(await start(settings), ids));
        for (const id of ids) expect(await ledger.counts(id)).toEqual(FIVE_ONCE);
      }
      tell(
        'session' in settings ? 'failover with sessions' : `failover by leases of ${LEASE_MS} ms`,
        times,
      );
      expect(Math.max(...times)).toBeLessThan(boundMs);
    },
    ROUNDS * ROUND_MS,
  );

  it(
    'hands its workflows to the others behind a pooler in transaction mode, where no session can be held',
    async () => {
      if (!PgBouncer.isInstalled()) {
        process.stdout.write('not run: there is no pgbouncer on this machine\n');
        return;
      }
      const bouncer = await PgBouncer.start(database.url, 20);
      const settings = {
        url: bouncer.url,
        ledgerUrl: database.url,
        session: true,
        leaseMs: LEASE_MS,
      };
      try {
        const [survivor, victim] = await startMany([settings, settings]);
        await eventually(() => expect(survivor!.log).toContain('transaction-mode pooler'));
        const ids = idsOf('pooled', 10);
        expect(await failOver(victim!, ids)).toBeLessThan(LEASE_MS + SLACK_MS);
        for (const id of ids) expect(await ledger.counts(id)).toEqual(FIVE_ONCE);
      } finally {
        await Promise.all(children.splice(0).map((child) => child.kill()));
        await bouncer.stop();
      }
    },
    ROUND_MS,
  );
});

describe('A process that was frozen beyond its lease', () => {
  it(
    'writes nothing of what it had under way once it wakes',
    async () => {
      const survivor = await start({ leaseMs: LEASE_MS });
      let refused = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const zombie = await start({ leaseMs: LEASE_MS });
        await zombie.stopAt('step 1 done');
        const ids = idsOf(`zombie ${round}`, 10);
        await Promise.all(ids.map((id) => zombie.startWorkflow('FiveSteps', id)));
        await eventually(async () => {
          const bodies = await ledger.entries();
          expect(
            bodies.filter(({ pid, step }) => pid === zombie.pid && step === 'step 1'),
          ).toHaveLength(10);
        });
        zombie.freeze();
        for (const id of ids) expect(await survivor.result(id)).toBe(RESULT);
        const before = await written(ids);

        zombie.wake();
        await zombie.goOnFrom('step 1 done');

        for (const id of ids) expect(await zombie.result(id)).toBe(RESULT);
        expect(await written(ids)).toEqual(before);
        refused += ids.length;
        await kill(zombie);
      }
      process.stdout.write(`zombies: ${refused} of ${refused} checkpoints refused\n`);
    },
    ROUNDS * ROUND_MS,
  );

  /** All that is on record of these workflows. */
  async function written(ids: readonly string[]): Promise<unknown> {
    return {
      workflows: await ledger.query(
        'SELECT * FROM dbos.workflows WHERE id = ANY ($1) ORDER BY id',
        [ids],
      ),
      steps: await ledger.query(
        'SELECT * FROM dbos.steps WHERE workflow_id = ANY ($1) ORDER BY workflow_id, step_id',
        [ids],
      ),
    };
  }
});

describe('A rolling restart', () => {
  it(
    'strands nothing, repeats no body and counts no recovery',
    async () => {
      const settings = { session: true, options: { shutdown: { graceMs: 10_000 } } };
      await startMany([settings, settings, settings]);
      const ids = idsOf('rolled', 24);
      await Promise.all(
        ids.map((id, index) => children[index % 3]!.startWorkflow('Ticking', id, 30, 40)),
      );

      for (const old of children.slice()) {
        await start(settings);
        children.splice(children.indexOf(old), 1);
        expect(await old.close()).toBe('SIGTERM'); // Nest ends a process by the signal itself
      }

      for (const id of ids) expect(await children[0]!.result(id)).toBe((29 * 30) / 2);
      for (const id of ids)
        expect(await ledger.counts(id)).toEqual(
          Object.fromEntries(idsOf('tick', 30).map((_tick, index) => [`tick ${index}`, 1])),
        );
      expect(
        await ledger.query('SELECT DISTINCT status, recovery_attempts FROM dbos.workflows'),
      ).toEqual([{ status: 'SUCCESS', recovery_attempts: 0 }]);
      expect(await ledger.query('SELECT FROM dbos.executors WHERE dead_at IS NULL')).toHaveLength(
        3,
      );
    },
    ROUND_MS,
  );
});

describe('Executors whose clocks are an hour slow and an hour fast', () => {
  const SKEWS = [-HOUR_MS, 0, HOUR_MS];
  const skewed = (rest: Partial<ChildSettings> = {}): Array<Partial<ChildSettings>> =>
    SKEWS.map((clockSkewMs) => ({ clockSkewMs, leaseMs: LEASE_MS, ...rest }));

  it(
    'take nothing from one another while they live, and all from one that dies',
    async () => {
      const apps = await startMany(skewed());
      const ids = idsOf('skewed', 9);
      await Promise.all(
        ids.map((id, index) => apps[index % 3]!.startWorkflow('Ticking', id, 50, 100)),
      );
      for (const id of ids) expect(await apps[1]!.result(id)).toBe((49 * 50) / 2);
      expect(
        await ledger.query('SELECT DISTINCT epoch, recovery_attempts FROM dbos.workflows'),
      ).toEqual([{ epoch: 1, recovery_attempts: 0 }]);

      for (const victim of [apps[2]!, apps[0]!]) {
        const left = idsOf(`left by ${victim.pid}`, 5);
        children.sort((a) => (a === victim ? 1 : -1));
        expect(await failOver(victim, left)).toBeLessThan(LEASE_MS + SLACK_MS);
      }
    },
    ROUND_MS,
  );

  it.each([
    ['awake', 10_000],
    ['parked', 0],
  ])(
    'sleep as long as they were asked to, %s',
    async (_, parkAfterMs) => {
      const apps = await startMany(skewed({ options: { parkAfterMs } }));
      const ids = idsOf('asleep', 3);
      await Promise.all(ids.map((id, index) => apps[index]!.startWorkflow('Sleeping', id, 1_500)));

      for (const id of ids) await apps[0]!.result(id);

      const rows = await ledger.query<{ ms: number }>(
        'SELECT extract(epoch FROM completed_at - created_at)::float8 * 1000 AS ms FROM dbos.workflows',
      );
      expect(rows).toHaveLength(3);
      for (const { ms } of rows) {
        expect(ms).toBeGreaterThanOrEqual(1_490);
        expect(ms).toBeLessThan(1_500 + SLACK_MS);
      }
    },
    ROUND_MS,
  );

  it(
    'end a workflow at its deadline by the clock of the database',
    async () => {
      const apps = await startMany(skewed());
      const ids = idsOf('limited', 3);
      await Promise.all(apps.map((app) => app.stopAt('step 1 begun')));
      await Promise.all(ids.map((id, index) => apps[index]!.startWithin(1_500, 'FiveSteps', id)));

      for (const id of ids)
        await expect(apps[1]!.result(id)).rejects.toMatchObject({
          code: 'DBOS_WORKFLOW_CANCELLED',
        });

      const rows = await ledger.query<{ ms: number }>(
        'SELECT extract(epoch FROM completed_at - created_at)::float8 * 1000 AS ms FROM dbos.workflows',
      );
      for (const { ms } of rows) {
        expect(ms).toBeGreaterThanOrEqual(1_490);
        expect(ms).toBeLessThan(1_500 + SLACK_MS);
      }
    },
    ROUND_MS,
  );
});
