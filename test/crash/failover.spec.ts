// Failover between live processes: killed ones, frozen ones, replaced ones, behind a pooler, and with clocks that disagree.
//
// FAILOVER_ROUNDS=10 for figures; they are printed as they are found.
import type { ChildApp } from '../support/child-app.js';
import { useChildApps } from '../support/child-apps.js';
import type { ChildSettings } from '../support/child-protocol.js';
import { eventually } from '../support/eventually.js';
import { PgBouncer } from '../support/pgbouncer.js';

const ROUNDS = Number(process.env['FAILOVER_ROUNDS'] ?? 1);
const FIVE_ONCE = { 'step 0': 1, 'step 1': 1, 'step 2': 1, 'step 3': 1, 'step 4': 1 };
const RESULT = 'result 0, result 1, result 2, result 3, result 4';
const HOUR_MS = 3_600_000;
const LEASE_MS = 3_000;
/** A process knows the database's clock up to half of a round trip of its heartbeat. */
const CLOCK_ERROR_MS = 250;
/** What a busy machine may add to any of the spans here. */
const SLACK_MS = 8_000;
/** Processes take seconds to come up on a busy machine. */
const ROUND_MS = 60_000;

const apps = useChildApps();

async function databaseNow(): Promise<number> {
  const [row] = await apps.ledger.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return row!.now.getTime();
}

/** Free locks say something once the server has run for a lease: until then their holders may not be back. */
async function serverHasRunFor(leaseMs: number): Promise<void> {
  await eventually(async () => {
    const [row] = await apps.ledger.query<{ ms: number }>(
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
    const rows = await apps.ledger.query('SELECT FROM dbos.steps WHERE workflow_id = ANY ($1)', [
      ids,
    ]);
    expect(rows).toHaveLength(2 * ids.length);
  });
}

/** Milliseconds from a kill until the last of the workflows is at work elsewhere. */
async function failOver(victim: ChildApp, ids: readonly string[]): Promise<number> {
  await standingAtThird(victim, ids);
  const diedAt = await databaseNow();
  await apps.kill(victim);
  for (const id of ids) expect(await apps.children[0]!.result(id)).toBe(RESULT);
  const entries = await apps.ledger.entries();
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

describe('P1: kill -9 of one of three executors', () => {
  it.each([
    ['within seconds where it held a session', { session: true, leaseMs: 20_000 }, 20_000],
    ['once its lease has run out where it held none', { leaseMs: LEASE_MS }, LEASE_MS + SLACK_MS],
  ] as const)(
    'hands its workflows to the others %s',
    async (_, settings, boundMs) => {
      await apps.startMany([settings, settings]);
      if ('session' in settings) await serverHasRunFor(settings.leaseMs);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const ids = idsOf(`round ${round}`, 10);
        times.push(await failOver(await apps.start(settings), ids));
        for (const id of ids) expect(await apps.ledger.counts(id)).toEqual(FIVE_ONCE);
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
      const bouncer = await PgBouncer.start(apps.url, 20);
      const settings = {
        url: bouncer.url,
        ledgerUrl: apps.url,
        session: true,
        leaseMs: LEASE_MS,
      };
      try {
        const [survivor, victim] = await apps.startMany([settings, settings]);
        await eventually(() => expect(survivor!.log).toContain('transaction-mode pooler'));
        const ids = idsOf('pooled', 10);
        expect(await failOver(victim!, ids)).toBeLessThan(LEASE_MS + SLACK_MS);
        for (const id of ids) expect(await apps.ledger.counts(id)).toEqual(FIVE_ONCE);
      } finally {
        await apps.killAll();
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
      const survivor = await apps.start({ leaseMs: LEASE_MS });
      let refused = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        const zombie = await apps.start({ leaseMs: LEASE_MS });
        await zombie.stopAt('step 1 done');
        const ids = idsOf(`zombie ${round}`, 10);
        await Promise.all(ids.map((id) => zombie.startWorkflow('FiveSteps', id)));
        await eventually(async () => {
          const bodies = await apps.ledger.entries();
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
        await apps.kill(zombie);
      }
      process.stdout.write(`zombies: ${refused} of ${refused} checkpoints refused\n`);
    },
    ROUNDS * ROUND_MS,
  );

  /** All that is on record of these workflows. */
  async function written(ids: readonly string[]): Promise<unknown> {
    return {
      workflows: await apps.ledger.query(
        'SELECT * FROM dbos.workflows WHERE id = ANY ($1) ORDER BY id',
        [ids],
      ),
      steps: await apps.ledger.query(
        'SELECT * FROM dbos.steps WHERE workflow_id = ANY ($1) ORDER BY workflow_id, step_id',
        [ids],
      ),
    };
  }
});

describe('A rolling restart', () => {
  it(
    'B41: strands nothing, repeats no body and counts no recovery',
    async () => {
      const settings = { session: true, options: { shutdown: { graceMs: 10_000 } } };
      await apps.startMany([settings, settings, settings]);
      const ids = idsOf('rolled', 24);
      await Promise.all(
        ids.map((id, index) => apps.children[index % 3]!.startWorkflow('Ticking', id, 30, 40)),
      );

      for (const old of apps.children.slice()) {
        await apps.start(settings);
        apps.children.splice(apps.children.indexOf(old), 1);
        expect(await old.close()).toBe('SIGTERM'); // Nest ends a process by the signal itself
      }

      for (const id of ids) expect(await apps.children[0]!.result(id)).toBe((29 * 30) / 2);
      for (const id of ids)
        expect(await apps.ledger.counts(id)).toEqual(
          Object.fromEntries(idsOf('tick', 30).map((_tick, index) => [`tick ${index}`, 1])),
        );
      expect(
        await apps.ledger.query('SELECT DISTINCT status, recovery_attempts FROM dbos.workflows'),
      ).toEqual([{ status: 'SUCCESS', recovery_attempts: 0 }]);
      expect(
        await apps.ledger.query('SELECT FROM dbos.executors WHERE dead_at IS NULL'),
      ).toHaveLength(3);
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
      const executors = await apps.startMany(skewed());
      const ids = idsOf('skewed', 9);
      await Promise.all(
        ids.map((id, index) => executors[index % 3]!.startWorkflow('Ticking', id, 50, 100)),
      );
      for (const id of ids) expect(await executors[1]!.result(id)).toBe((49 * 50) / 2);
      expect(
        await apps.ledger.query('SELECT DISTINCT epoch, recovery_attempts FROM dbos.workflows'),
      ).toEqual([{ epoch: 1, recovery_attempts: 0 }]);

      expect(await failOver(executors[2]!, idsOf('left', 5))).toBeLessThan(LEASE_MS + SLACK_MS);
    },
    ROUND_MS,
  );

  it(
    'sleep as long as they were asked to, though the database wakes them',
    async () => {
      const executors = await apps.startMany(skewed({ options: { parkAfterMs: 0 } }));
      const ids = idsOf('asleep', 3);
      await Promise.all(
        ids.map((id, index) => executors[index]!.startWorkflow('Sleeping', id, 1_500)),
      );

      for (const id of ids) await executors[0]!.result(id);

      const rows = await apps.ledger.query<{ ms: number }>(
        'SELECT extract(epoch FROM completed_at - created_at)::float8 * 1000 AS ms FROM dbos.workflows',
      );
      expect(rows).toHaveLength(3);
      for (const { ms } of rows) {
        expect(ms).toBeGreaterThan(1_500 - CLOCK_ERROR_MS);
        expect(ms).toBeLessThan(1_500 + SLACK_MS);
      }
    },
    ROUND_MS,
  );

  it(
    'end a workflow at its deadline by the clock of the database',
    async () => {
      const executors = await apps.startMany(skewed());
      const ids = idsOf('limited', 3);
      await Promise.all(executors.map((app) => app.stopAt('step 1 begun')));
      await Promise.all(
        ids.map((id, index) => executors[index]!.startWithin(1_500, 'FiveSteps', id)),
      );

      for (const id of ids)
        await expect(executors[1]!.result(id)).rejects.toMatchObject({
          code: 'DBOS_WORKFLOW_CANCELLED',
        });

      const rows = await apps.ledger.query<{ late_ms: number; limit_ms: number }>(
        `SELECT extract(epoch FROM completed_at - deadline)::float8 * 1000 AS late_ms,
                extract(epoch FROM deadline - created_at)::float8 * 1000 AS limit_ms
           FROM dbos.workflows`,
      );
      expect(rows).toHaveLength(3);
      for (const { late_ms, limit_ms } of rows) {
        expect(late_ms).toBeGreaterThanOrEqual(0);
        expect(late_ms).toBeLessThan(SLACK_MS);
        // The limit counts from the call, the row is as old as its insert: what lies between is the way of the statement.
        expect(limit_ms).toBeLessThan(1_500 + CLOCK_ERROR_MS);
        expect(limit_ms).toBeGreaterThan(1_500 - SLACK_MS);
      }
    },
    ROUND_MS,
  );
});
