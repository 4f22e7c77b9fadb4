// Queues over real processes: their limits, their order and their wake-ups, through kills, lost sessions and storms.
import { ChildApp, type WaitingParcel } from '../support/child-app.js';
import type { ChildSettings } from '../support/child-protocol.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';
import { gatherEvidence, readBodies } from '../support/queue-evidence.js';
import { violationsOf, type Body, type ProcessEnd } from '../support/queue-checker.js';
import { databaseMicros, installQueueLog, readQueueLog } from '../support/queue-log.js';
import { StatementCounter } from '../support/statement-counter.js';

const MS = 1_000;

let database: TestDatabase;
let ledger: Ledger;
/** Those of the test, and those that several tests share and none of them ends. */
const children: ChildApp[] = [];
const shared: ChildApp[] = [];
const ends: ProcessEnd[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  ledger = await Ledger.open(database.url);
  await ledger.create();
  await installQueueLog(ledger);
});

afterEach(async () => {
  ends.length = 0;
  await endAll(children);
  await ledger.query(
    `TRUNCATE dbos.workflows, dbos.steps, dbos.queue_claims, public.test_ledger, public.test_queue_log;
     UPDATE dbos.queues SET updated_at = now()`,
  );
});

afterAll(async () => {
  await endAll(shared);
  await ledger.close();
  await database.drop();
});

async function endAll(processes: ChildApp[]): Promise<void> {
  await Promise.all(processes.splice(0).map((child) => child.kill()));
  if (shared.length > 0) return;
  await eventually(async () => expect(await othersConnected()).toEqual([]));
  await ledger.query('TRUNCATE dbos.executors, dbos.queues');
}

/** What a killed process had sent is over once its connections are gone. */
const othersConnected = (): Promise<unknown[]> =>
  ledger.query(
    `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );

async function start(
  settings: Omit<ChildSettings, 'url'>,
  among: ChildApp[] = children,
): Promise<ChildApp> {
  const child = ChildApp.begin({ url: database.url, session: true, ...settings });
  among.push(child);
  await child.isReady();
  return child;
}

const startMany = (
  count: number,
  settings: Omit<ChildSettings, 'url'>,
  among?: ChildApp[],
): Promise<ChildApp[]> => Promise.all(Array.from({ length: count }, () => start(settings, among)));

async function kill(child: ChildApp): Promise<number> {
  const at = await databaseMicros(ledger);
  await child.kill();
  ends.push({ pid: child.pid, how: 'killed', at });
  return at;
}

const parcels = (
  count: number,
  ms: number,
  options: Omit<WaitingParcel, 'parcel'> = {},
): WaitingParcel[] =>
  Array.from({ length: count }, (_, index) => ({
    parcel: { label: `parcel ${index}`, ms },
    ...options,
  }));

const bodies = (): Promise<Body[]> => readBodies(ledger);

/** The bodies that have begun and not ended, in processes that live. */
async function atWork(): Promise<Body[]> {
  const dead = new Set(ends.map(({ pid }) => pid));
  return (await bodies()).filter(({ endedAt, pid }) => endedAt === undefined && !dead.has(pid));
}

/** Resolves once everything has ended, or all but so many. */
async function everythingEnds(allBut = 0): Promise<void> {
  await eventually(async () => {
    const unfinished = 'SELECT id, status FROM dbos.workflows WHERE completed_at IS NULL';
    expect(await ledger.query(unfinished)).toHaveLength(allBut);
  }, 60_000);
}

const violations = async (): Promise<unknown[]> =>
  violationsOf(await gatherEvidence(ledger, { ends }));

/** When the body of a workflow began, in microseconds; waits for it. */
const beginning = (workflowId: string, patienceMs?: number): Promise<number> =>
  eventually(async () => {
    const body = (await bodies()).find((one) => one.workflowId === workflowId);
    expect(body).toBeDefined();
    return body!.begunAt;
  }, patienceMs);

describe('Two processes on one queue', () => {
  let first: ChildApp;
  let second: ChildApp;
  const periodMs = 1_000;

  beforeAll(async () => {
    const queues = [
      { name: 'line', concurrency: 1 },
      { name: 'two each', workerConcurrency: 2 },
      { name: 'three together', concurrency: 3, workerConcurrency: 2 },
      { name: 'paced', rateLimit: { limit: 5, periodMs } },
      { name: 'parts', partition: { concurrency: 1 } },
    ];
    [first, second] = (await startMany(2, { queues }, shared)) as [ChildApp, ChildApp];
  });

  afterAll(() => endAll(shared));

  it('B45: with concurrency 1 pack one after the other, in the order of insertion', async () => {
    const ids: string[] = [];
    for (const child of [first, second, first, second])
      ids.push(...(await child.enqueue('line', ...parcels(8, 3))));
    await everythingEnds();
    expect((await bodies()).map(({ workflowId }) => workflowId)).toEqual(ids);
    expect(await violations()).toEqual([]);
  });

  /** Nothing is packed to its end before `look` has seen what it waits for. */
  async function whileHeld(count: number, look: () => Promise<void>): Promise<void> {
    const points = parcels(count, 0).map(({ parcel }) => `packing ${parcel.label}`);
    for (const child of [first, second]) for (const point of points) await child.stopAt(point);
    await look();
    for (const child of [first, second]) for (const point of points) await child.goOnFrom(point);
  }

  it('B45: each have no more than workerConcurrency at work, and that much', async () => {
    await whileHeld(12, async () => {
      await first.enqueue('two each', ...parcels(12, 20));
      await eventually(async () => {
        const pids = (await atWork()).map(({ pid }) => pid);
        const expected = [first.pid, first.pid, second.pid, second.pid];
        const ascending = (one: number, other: number): number => one - other;
        expect(pids.sort(ascending)).toEqual(expected.sort(ascending));
      });
    });
    await everythingEnds();
    expect(await violations()).toEqual([]);
  });

  it('B45: have no more than concurrency at work together, and no more than their own each', async () => {
    await whileHeld(12, async () => {
      await first.enqueue('three together', ...parcels(12, 20));
      await eventually(async () => expect(await atWork()).toHaveLength(3));
    });
    await everythingEnds();
    expect(await violations()).toEqual([]);
  });

  it('B46: never claim or begin more than the limit in any period', async () => {
    await first.enqueue('paced', ...parcels(8, 1));
    await second.enqueue('paced', ...parcels(8, 1));

    await everythingEnds();

    const claims = (await readQueueLog(ledger)).flatMap((change) =>
      change.kind === 'rate' ? Array.from({ length: change.claims }, () => change.claimedAt) : [],
    );
    expect(shortestWindow(claims, 6)).toBeGreaterThanOrEqual(periodMs * MS);
    // Three waves and a rest. The limit asks for three periods; twice that, and nobody would have come in time.
    expect(Math.max(...claims) - Math.min(...claims)).toBeLessThan(6 * periodMs * MS);
    expect(await violations()).toEqual([]); // at body start as well, where a body came soon after its claim
  });

  it('B52: hold the limit and the order of each partition, and let no stuck one hold up the others', async () => {
    const workers = [first, second];
    for (const child of workers) await child.stopAt('packing parcel 0');
    const stuck = await first.enqueue('parts', ...parcels(2, 1, { partitionKey: 'stuck' }));
    await eventually(async () => expect(await atWork()).toHaveLength(1));
    const keys = ['a', 'b', 'c', 'd'];
    const idsOf = new Map<string, string[]>(keys.map((key) => [key, []]));
    for (const child of workers) {
      for (const partitionKey of keys) {
        const others = parcels(5, 5, { partitionKey }).slice(1);
        idsOf.get(partitionKey)!.push(...(await child.enqueue('parts', ...others)));
      }
    }

    await everythingEnds(2);
    const atWorkThen = (await atWork()).map(({ workflowId }) => workflowId);
    for (const child of workers) await child.goOnFrom('packing parcel 0');
    await everythingEnds();

    expect(atWorkThen).toEqual([stuck[0]]);
    const order = (await bodies()).map(({ workflowId }) => workflowId);
    for (const ids of idsOf.values()) expect(order.filter((id) => ids.includes(id))).toEqual(ids);
    expect(await violations()).toEqual([]);
  });
});

/** The shortest time from one moment to the last of so many, itself included. */
function shortestWindow(moments: readonly number[], count: number): number {
  const inOrder = [...moments].sort((a, b) => a - b);
  const windows = inOrder.slice(count - 1).map((last, index) => last - inOrder[index]!);
  return Math.min(...windows);
}

describe('Processes that drain a queue', () => {
  /** Long enough that nobody is taken for dead who only has no time. */
  const LEASE_MS = 5_000;

  it('B45: with concurrency 1 keep the order when one of them is killed at its work', async () => {
    const settings = { leaseMs: LEASE_MS, queues: [{ name: 'line', concurrency: 1 }] };
    const [first, second] = await startMany(2, settings);
    const ids = await first!.enqueue('line', ...parcels(20, 40));
    const worker = await eventually(async () => {
      const [body] = await atWork();
      return [first!, second!].find(({ pid }) => pid === body!.pid)!;
    });

    await kill(worker);

    await everythingEnds();
    const order = (await bodies()).map(({ workflowId }) => workflowId);
    const repeated = order.filter((id, index) => order.indexOf(id) !== index);
    expect(repeated.length).toBeLessThanOrEqual(1);
    expect([...new Set(order)]).toEqual(ids);
    expect(await violations()).toEqual([]);
  });

  it.each([2, 4])('B49: %s together run every workflow exactly once', async (count) => {
    const settings = { queues: [{ name: 'open' }], maxConcurrentWorkflows: 10 };
    const workers = await startMany(count, settings);
    const ids = await workers[0]!.enqueue('open', ...parcels(400, 2));

    await everythingEnds();

    const begun = await bodies();
    expect(begun.map(({ workflowId }) => workflowId).sort()).toEqual([...ids].sort());
    expect(new Set(begun.map(({ pid }) => pid)).size).toBe(count);
    expect(await violations()).toEqual([]);
  });

  it('B50: go on with what a killed one had begun and what still waited, and keep the limit meanwhile', async () => {
    const settings = { leaseMs: LEASE_MS, queues: [{ name: 'crew', concurrency: 2 }] };
    const killed = await start(settings);
    const stops = ['packing parcel 0', 'packing parcel 1'];
    for (const stop of stops) await killed.stopAt(stop);
    const ids = await killed.enqueue('crew', ...parcels(12, 30));
    for (const stop of stops) await killed.reached(stop);
    await startMany(2, settings);

    const killedAt = await kill(killed);

    await everythingEnds();
    const begun = await bodies();
    expect(
      begun
        .map(({ workflowId }) => workflowId)
        .slice(2)
        .sort(),
    ).toEqual([...ids].sort());
    // The queue was full of orphans for as long as it took to know that nobody would come back for them.
    expect(begun[2]!.begunAt - killedAt).toBeLessThan(3 * LEASE_MS * MS);
    expect(await violations()).toEqual([]);
  });

  it('B50: are not held up by orphans that their own restart brings back', async () => {
    const settings = { executorId: 'packer', queues: [{ name: 'line', concurrency: 1 }] };
    const killed = await start(settings);
    await killed.enqueue('line', ...parcels(5, 100));
    await eventually(async () => expect(await atWork()).toHaveLength(1));
    await kill(killed);

    await start(settings);

    await everythingEnds();
    expect(await violations()).toEqual([]);
  });
});

describe('A process that is frozen while the answer to its claim comes', () => {
  it('holds up no other queue', async () => {
    const queues = [
      { name: 'heavy', concurrency: 100 },
      { name: 'light', concurrency: 5 },
    ];
    const frozen = await start({ queues });
    const turn = await Ledger.open(database.url);
    await turn.query('BEGIN');
    await turn.query("SELECT dbos.take_turn('heavy', true)");
    const text = 'x'.repeat(500_000);
    const heavy = parcels(60, 1).map(({ parcel }) => ({ parcel: { ...parcel, text } }));
    await frozen.enqueue('heavy', ...heavy);
    await eventually(async () => {
      const waiting = await ledger.query(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
      );
      expect(waiting).not.toEqual([]);
      frozen.freeze();
    });
    await turn.query('COMMIT');
    await turn.close();
    // More than any socket buffers: the server waits for somebody to read it, and the claim is not over.
    await eventually(async () => {
      const writing = await ledger.query(
        "SELECT FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND query LIKE '%claim_workflows%'",
      );
      expect(writing).toHaveLength(1);
    });

    const other = await start({ queues });
    const [id] = await other.enqueue('light', ...parcels(1, 1));
    expect(await other.result(id!)).toBe('packed parcel 0');
    await kill(frozen);
    await everythingEnds();
    expect(await violations()).toEqual([]);
  });
});

describe('A worker that polls once a minute', () => {
  const queues = [{ name: 'parcels' }];
  /** Whoever has not begun by then, on whatever machine, was not told and waits for its poll. */
  const TOLD_MS = 15_000;
  const startWorker = (pollIntervalMs = 60_000): Promise<ChildApp> =>
    start({ queues, options: { pollIntervalMs } });
  const startApi = (): Promise<ChildApp> =>
    start({ queues, options: { pollIntervalMs: 60_000, runWorkflows: false } });

  /** Milliseconds from the answer to the enqueuing process to the begin of the body elsewhere. */
  async function latency(api: ChildApp): Promise<number> {
    const [id] = await api.enqueue('parcels', ...parcels(1, 1));
    const at = await databaseMicros(ledger);
    return ((await beginning(id!, 2 * TOLD_MS)) - at) / MS;
  }

  /** Ends the server's end of the session of a process, as a failing network would. */
  async function breakSession({ pid }: ChildApp): Promise<void> {
    const ended = await ledger.query(
      `SELECT pg_terminate_backend(l.pid)
         FROM dbos.executors e
         JOIN pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1
                        AND (l.classid::bigint << 32 | l.objid::bigint) = e.lock_key
        WHERE e.pid = $1`,
      [pid],
    );
    expect(ended).toHaveLength(1);
  }

  it('begins at once what a process enqueues that runs none', async () => {
    await startWorker();
    const api = await startApi();
    const latencies: number[] = [];
    for (let index = 0; index < 15; index += 1) latencies.push(await latency(api));
    const median = latencies.sort((a, b) => a - b)[7]!;
    expect(median).toBeLessThan(1_000); // milliseconds on a machine that has time
    expect(latencies.at(-1)).toBeLessThan(TOLD_MS);
  });

  it('begins by polling, if need be, what is enqueued just after its session broke', async () => {
    const worker = await startWorker(2_000);
    const api = await startApi();
    await latency(api);
    await breakSession(worker);
    expect(await latency(api)).toBeLessThan(TOLD_MS);
  });

  it('is woken again once its session is back', async () => {
    const worker = await startWorker();
    const api = await startApi();
    await breakSession(worker);
    await eventually(async () => {
      const rows = await ledger.query(
        'SELECT FROM dbos.executors WHERE pid = $1 AND lock_key IS NOT NULL',
        [worker.pid],
      );
      expect(rows).toHaveLength(1);
    });
    expect(await latency(api)).toBeLessThan(TOLD_MS);
  });

  it('is not disturbed by what others send on the channel', async () => {
    const worker = await startWorker();
    const api = await startApi();
    const garbage = [
      '',
      'work',
      'null',
      '[]',
      '{}',
      '{"from":1,"topics":{}}',
      '{"from":"x","topics":null}',
      '{"from":"x","topics":"work"}',
      '{"from":"x","topics":["work"]}',
      '{"from":"x","topics":{"__proto__":[],"constructor":1,"work":null,"no such topic":[]}}',
      `{"from":"${'x'.repeat(7_900)}`,
    ];
    for (const payload of garbage)
      await ledger.query("SELECT pg_notify('nestjs_dbos', $1)", [payload]);
    const real = '{"from":"storm","topics":{"work":["parcels"],"executor":[],"schedule":[]}}';
    const storm = ledger.query(
      "SELECT pg_notify('nestjs_dbos', replace($1, 'storm', 'storm ' || n)) FROM generate_series(1, 20000) AS n",
      [real],
    );

    const ids = await api.enqueue('parcels', ...parcels(20, 1));
    await storm;

    await everythingEnds();
    expect(await latency(api)).toBeLessThan(TOLD_MS);
    expect((await bodies()).length).toBe(ids.length + 1);
    expect(worker.log).not.toMatch(/error|warn/i);
  });
});

const countable = await StatementCounter.isPossible();
const reason = countable ? '' : ' (skipped: this server has no pg_stat_statements)';

/** TEST_IDLE_MS=60000 makes it the whole minute. */
const IDLE_MS = Number(process.env['TEST_IDLE_MS'] ?? 15_000);

(countable ? describe : describe.skip)(`A process with nothing to do${reason}`, () => {
  it(
    'sends less than a statement a second, however many queues it has',
    async () => {
      const queues = Array.from({ length: 20 }, (_, index) => ({
        name: `queue ${index}`,
        concurrency: 5,
        rateLimit: { limit: 5, periodMs: 1_000 },
      }));
      const idle = await start({ queues, options: { pollIntervalMs: 1_000 } });
      await idle.startWorkflow('Parcels', 'first', { label: 'first', ms: 1 });
      await idle.result('first');
      const counter = await StatementCounter.open(database);

      const startedAt = performance.now();
      const sent = await counter.during(() =>
        eventually(
          () => expect(performance.now() - startedAt).toBeGreaterThan(IDLE_MS),
          IDLE_MS * 2,
        ),
      );
      const elapsedMs = performance.now() - startedAt;
      await counter.close();

      const total = sent.reduce((sum, { calls }) => sum + calls, 0);
      process.stdout.write(
        `${total} statements in ${Math.round(elapsedMs)} ms: ${JSON.stringify(sent)}\n`,
      );
      // The first and the last beat of each loop may both lie within.
      expect(total).toBeLessThan(elapsedMs / 1_000 + (IDLE_MS < 60_000 ? 3 : 0));
    },
    IDLE_MS + 60_000,
  );
});
