// Claims that meet: with each other, and with what else is done to workflows that wait. Each session is a connection
// whose transaction the test keeps open for as long as it likes.
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { NAME, QueueSession } from '../support/queue-session.js';

const ALONE = { children: false, by: null };

let database: TestDatabase;
/** Looks on, and prepares. */
let observer: QueueSession;
let first: QueueSession;
let second: QueueSession;
let third: QueueSession;
let opened: QueueSession[];

beforeAll(async () => {
  database = await createTestDatabase();
});

beforeEach(async () => {
  observer = await QueueSession.open(database.url);
  opened = await Promise.all([1, 2, 3].map(() => QueueSession.open(database.url)));
  [first, second, third] = opened as [QueueSession, QueueSession, QueueSession];
});

afterEach(async () => {
  await endSessions();
  await observer.query('TRUNCATE dbos.workflows, dbos.queues, dbos.queue_claims');
  await observer.close();
});

afterAll(() => database.drop());

const endSessions = (): Promise<unknown> =>
  Promise.all(opened.splice(0).map((session) => session.end(observer)));

/** Sessions report with a delay, or at their end. */
async function deadlocksUntilNow(): Promise<number> {
  await endSessions();
  await eventually(async () => {
    const others = await observer.query(
      `SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    expect(others).toEqual([]);
  });
  const [row] = await observer.query<{ deadlocks: number }>(
    'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
  );
  return row!.deadlocks;
}

const numbered = (count: number, prefix = 'parcel'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix} ${index}`);

describe('Two claims on a queue', () => {
  it.each([
    ['concurrency', { concurrency: 3 }],
    ['a rate limit', { rateLimit: { limit: 3, periodMs: 60_000 } }],
  ])('with %s take turns, and the second counts what the first took', async (_name, limits) => {
    await observer.declare('parcels', limits);
    await observer.enqueue('parcels', numbered(10));
    await first.begin();
    const taken = await first.claimIds({ queues: ['parcels'], limit: 2 });
    const claiming = second.claimIds({ queues: ['parcels'] });
    await first.holdsUp(second, observer);

    await first.commit();

    expect(taken).toEqual(['parcel 0', 'parcel 1']);
    expect(await claiming).toEqual(['parcel 2']);
    expect(await third.claimIds({ queues: ['parcels'] })).toEqual([]);
  });

  it.each([
    ['concurrency', { partition: { concurrency: 2 } }],
    ['a rate limit', { partition: { rateLimit: { limit: 2, periodMs: 60_000 } } }],
  ])('with %s of partitions count in each what the other took', async (_name, limits) => {
    await observer.declare('parcels', limits);
    const parcels = ['a', 'b', 'a', 'b', 'a', 'b'].map((partitionKey, index) => ({
      id: `${partitionKey}${index}`,
      partitionKey,
    }));
    await observer.enqueue('parcels', parcels);
    await first.begin();
    const taken = await first.claimIds({ queues: ['parcels'], limit: 1 });
    const claiming = second.claimIds({ queues: ['parcels'] });
    await first.holdsUp(second, observer);

    await first.commit();

    expect(taken).toEqual(['a0']);
    expect(await claiming).toEqual(['b1', 'a2', 'b3']);
  });

  it('without shared limits pass each other and take different workflows', async () => {
    await observer.declare('parcels', { workerConcurrency: 50 });
    await observer.enqueue('parcels', numbered(4));
    await first.begin();

    const taken = await first.claimIds({ queues: ['parcels'], limit: 2 });

    expect(taken).toEqual(['parcel 0', 'parcel 1']);
    expect(await second.claimIds({ queues: ['parcels'] })).toEqual(['parcel 2', 'parcel 3']);
    await first.commit();
  });

  it('take everything once, however many claim at the same time', async () => {
    await observer.declare('parcels');
    await observer.enqueue('parcels', numbered(400));

    const claims = Array.from({ length: 16 }, (_, index) =>
      [first, second, third][index % 3]!.claimIds({ queues: ['parcels'], limit: 50 }),
    );

    const taken = (await Promise.all(claims)).flat();
    expect(new Set(taken).size).toBe(taken.length);
    expect(taken).toHaveLength(400);
  });
});

describe('Claims on several queues with limits', () => {
  const limits = { concurrency: 5 };

  it('do not lock each other up, in whatever order they prefer the queues', async () => {
    for (const queue of ['one', 'two']) {
      await observer.declare(queue, limits);
      await observer.enqueue(queue, numbered(10, queue));
    }
    await first.begin();
    await first.claim({ queues: ['two'], limit: 1 });
    // Both come while a third holds one of the queues: each has its first queue by then, if it takes it at once.
    const forwards = second.claimIds({ queues: ['two', 'one'], limit: 8 });
    await first.holdsUp(second, observer);
    const backwards = third.claimIds({ queues: ['one', 'two'], limit: 8 });
    await eventually(async () => {
      const waiting = await observer.query(
        'SELECT FROM pg_stat_activity WHERE pid = $1 AND cardinality(pg_blocking_pids(pid)) > 0',
        [third.pid],
      );
      expect(waiting).toHaveLength(1);
    });

    await first.commit();

    const taken = [...(await forwards), ...(await backwards)];
    expect(taken.sort()).toEqual([...numbered(5, 'one'), ...numbered(5, 'two').slice(1)]);
  });

  it('prefer the queues in the order in which they are given', async () => {
    for (const queue of ['one', 'two']) {
      await observer.declare(queue, limits);
      await observer.enqueue(queue, numbered(10, queue));
    }
    expect(await first.claimIds({ queues: ['two', 'one'], limit: 2 })).toEqual(['two 0', 'two 1']);
  });
});

describe('A claim', () => {
  it('comes by priority, then by order of insertion, over what several statements inserted', async () => {
    await observer.declare('parcels', { concurrency: 10 });
    await observer.enqueue('parcels', [{ id: 'z', priority: 1 }, 'y', 'x']);
    await observer.enqueue('parcels', [{ id: 'w', priority: -1 }, 'a', { id: 'b', priority: 1 }]);
    expect(await first.claimIds({ queues: ['parcels'] })).toEqual(['w', 'y', 'x', 'a', 'z', 'b']);
  });

  it('leaves names that its executor does not know, and takes those behind them', async () => {
    await observer.declare('parcels', { concurrency: 10 });
    await observer.enqueue('parcels', [{ id: 'foreign', name: 'Elsewhere' }, 'ours']);
    expect(await first.claimIds({ queues: ['parcels'] })).toEqual(['ours']);
    expect(await first.claimIds({ queues: ['parcels'], names: ['Elsewhere'] })).toEqual([
      'foreign',
    ]);
  });

  it('that comes after its time takes nothing', async () => {
    await observer.declare('parcels');
    await observer.enqueue('parcels', ['tea']);
    const expiresAt = new Date(Date.now() - 1);
    expect(await first.claimIds({ queues: ['parcels'], expiresAt })).toEqual([]);
  });

  it('whose time runs out while it waits for its turn takes nothing', async () => {
    await observer.declare('parcels', { concurrency: 10 });
    await observer.enqueue('parcels', ['tea', 'salt']);
    await first.begin();
    await first.claim({ queues: ['parcels'], limit: 1 });
    const expiresAt = new Date(Date.now() + 2_000); // it is under way by then

    const late = second.claimIds({ queues: ['parcels'], expiresAt });
    await first.holdsUp(second, observer);
    await eventually(() => expect(Date.now()).toBeGreaterThan(expiresAt.getTime() + 50));

    await first.commit();

    expect(await late).toEqual([]);
  });

  it('takes nothing of a queue whose pause was under way when it came', async () => {
    await observer.declare('parcels', { concurrency: 10 });
    await observer.enqueue('parcels', ['tea']);
    await first.begin();
    await first.queues.setPaused('parcels', true);
    const claiming = second.claimIds({ queues: ['parcels'] });
    await first.holdsUp(second, observer);

    await first.commit();

    expect(await claiming).toEqual([]);
  });

  it.each([
    ['with a shared limit', { concurrency: 10 }],
    ['without', {}],
  ])('of a queue %s is over before a pause of it is', async (_name, limits) => {
    await observer.declare('parcels', limits);
    await observer.enqueue('parcels', numbered(2));
    await first.begin();
    await first.claim({ queues: ['parcels'], limit: 1 });

    const pausing = second.queues.setPaused('parcels', true);
    await first.holdsUp(second, observer);
    await first.commit();
    await pausing;

    expect(await third.claimIds({ queues: ['parcels'] })).toEqual([]);
  });

  it('counts against a limit that was set while it was under way', async () => {
    await observer.declare('parcels');
    await observer.enqueue('parcels', numbered(5));
    await first.begin();
    await first.claim({ queues: ['parcels'], limit: 2 });
    const configuring = second.queues.configure('parcels', { concurrency: 3 });
    await first.holdsUp(second, observer);

    await first.commit();
    await configuring;

    expect(await third.claimIds({ queues: ['parcels'] })).toEqual(['parcel 2']);
  });
});

describe('A claim on partitions', () => {
  const parts = numbered(40, 'part');

  interface Waiting {
    readonly id: string;
    readonly partitionKey: string;
    readonly priority: number;
  }

  /** Spread so that no order of arrival, of priority or of names is another. */
  const waiting: Waiting[] = Array.from({ length: 400 }, (_, index) => ({
    id: `parcel ${index}`,
    partitionKey: parts[(index * index) % 37]!,
    priority: (index * 7) % 5,
  }));

  /** As many as are asked for, the first in the order of the queue, no more of a partition than it lets out. */
  function firstOf(rows: readonly Waiting[], count: number, ofEach: number): string[] {
    const taken = new Map<string, number>();
    const inOrder = [...rows].sort((a, b) => a.priority - b.priority);
    const chosen = inOrder.filter(({ partitionKey }) => {
      taken.set(partitionKey, (taken.get(partitionKey) ?? 0) + 1);
      return taken.get(partitionKey)! <= ofEach;
    });
    return chosen.slice(0, count).map(({ id }) => id);
  }

  it.each([
    { count: 10, ofEach: 1 },
    { count: 10, ofEach: 3 },
    { count: 25, ofEach: 100 },
    { count: 100, ofEach: 2 },
  ])('takes $count in the order of the queue, at most $ofEach of each', async (asked) => {
    await observer.declare('parcels', { partition: { concurrency: asked.ofEach } });
    await observer.enqueue('parcels', waiting);

    const taken = await first.claimIds({ queues: ['parcels'], limit: asked.count });

    expect(taken).toEqual(firstOf(waiting, asked.count, asked.ofEach));
  });
});

describe('Batches of workflows with the same deduplication ids', () => {
  it('come in different orders at the same time and lock nobody up', async () => {
    await observer.declare('parcels');
    const batches = async (session: QueueSession, salt: number): Promise<void> => {
      for (let round = 0; round < 100; round += 1) {
        const start = (round * salt) % 20;
        const turned = [...numbered(20).slice(start), ...numbered(20).slice(0, start)];
        const ordered = salt % 2 === 0 ? turned : turned.reverse();
        await session.workflows.startMany(
          ordered.map((deduplicationId) => ({
            id: `${session.pid} ${round} ${deduplicationId}`,
            name: NAME,
            input: { text: '[]', format: 'json' },
            queue: 'parcels',
            deduplicationId,
          })),
        );
        await session.query('UPDATE dbos.workflows SET completed_at = now() WHERE id LIKE $1', [
          `${session.pid} %`,
        ]);
      }
    };
    await Promise.all([batches(first, 3), batches(second, 4), batches(third, 7)]);
    expect(await deadlocksUntilNow()).toBe(0);
  });
});

describe('A claim of 100', () => {
  /** Hundreds of thousands of rows are written first. */
  const FILLING_MS = 180_000;

  /** Fills the tables in as few statements as possible; nothing is analysed yet. */
  async function fill(queue: string, waiting: number, partitions?: number): Promise<void> {
    await observer.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, partition_key)
       SELECT $1 || n, $2, 'ENQUEUED', 'json', '[]', $1, CASE WHEN $4 > 0 THEN 'part ' || n % $4 END
         FROM generate_series(1, $3) AS n`,
      [queue, NAME, waiting, partitions ?? 0],
    );
  }

  interface Reads {
    readonly scans: number;
    readonly rows: number;
    readonly blocks: number;
  }

  /** What a claim reads of the workflows, its second time, when everything is planned and in memory. */
  async function readsOf(queue: string): Promise<Reads> {
    const claim = `SELECT * FROM dbos.claim_workflows('reader', '{${NAME}}', '{v1}', '[{"queue": "${queue}", "running": 0}]',
                                                     100, 'infinity')`;
    await first.begin();
    await first.query(claim);
    await first.query('ROLLBACK');
    await first.begin();
    const counted = `SELECT coalesce(seq_scan, 0)::int AS scans, coalesce(idx_tup_fetch, 0)::int AS rows
                       FROM pg_stat_xact_user_tables WHERE relid = 'dbos.workflows'::regclass`;
    const [before] = await first.query<Reads>(counted);
    const [explained] = await first.query<{
      'QUERY PLAN': Array<{ Plan: Record<string, number> }>;
    }>(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${claim}`);
    const [after] = await first.query<Reads>(counted);
    await first.query('ROLLBACK');
    const plan = explained!['QUERY PLAN'][0]!.Plan;
    expect(plan['Actual Rows']).toBe(101);
    return {
      scans: after!.scans - before!.scans,
      rows: after!.rows - before!.rows,
      blocks: plan['Shared Hit Blocks']! + plan['Shared Read Blocks']!,
    };
  }

  it(
    'reads little more, on queues with and without a limit, of 100,000 among 200,000 that have ended',
    async () => {
      await observer.declare('limited', { concurrency: 10_000 });
      await observer.declare('free');
      for (const [status, number] of [
        ['SUCCESS', 200_000],
        ['PENDING', 5_000],
      ]) {
        await observer.query(
          `INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, executor_id)
         SELECT $1 || n, $2, $1, 'json', '[]', 'free', 'another' FROM generate_series(1, $3::integer) AS n`,
          [status, NAME, number],
        );
      }
      for (const queue of ['limited', 'free']) {
        await fill(queue, 100_000);
        const { scans, rows, blocks } = await readsOf(queue);
        expect(scans).toBe(0);
        expect(rows).toBeLessThan(600);
        expect(blocks).toBeLessThan(4_000);
      }
    },
    FILLING_MS,
  );

  it(
    'reads a few rows of each of 1,000 partitions, whatever limits them',
    async () => {
      await observer.declare('one by one', { partition: { concurrency: 1 } });
      await observer.declare('paced', {
        partition: { rateLimit: { limit: 999, periodMs: 60_000 } },
      });
      for (const queue of ['one by one', 'paced']) {
        await fill(queue, 100_000, 1_000);
        const { scans, rows, blocks } = await readsOf(queue);
        expect(scans).toBe(0);
        expect(rows).toBeLessThan(10_000);
        expect(blocks).toBeLessThan(25_000);
      }
    },
    FILLING_MS,
  );
});

describe('What is done to waiting workflows while they are claimed', () => {
  beforeEach(async () => {
    await observer.declare('parcels', { concurrency: 10 });
    await observer.enqueue('parcels', numbered(4));
  });

  it.each([
    [
      'a cancel',
      async () => {
        const ended = await second.control.cancel(['parcel 3', 'parcel 0'], ALONE);
        return ended.map(({ id }) => id);
      },
    ],
    ['a change of priorities', () => second.queues.setPriority(['parcel 3', 'parcel 0'], 7)],
  ])('%s waits for the claim, and finds what it left', async (_name, act) => {
    await first.begin();
    await first.claim({ queues: ['parcels'], limit: 2 });
    const acting = act();
    await first.holdsUp(second, observer);

    await first.commit();

    const waiting = ['parcel 3'];
    const all = ['parcel 0', 'parcel 3'];
    expect((await acting).sort()).toEqual(_name === 'a cancel' ? all : waiting);
  });

  it.each([
    ['a cancel', () => first.control.cancel(['parcel 3', 'parcel 0'], ALONE)],
    ['a change of priorities', () => first.queues.setPriority(['parcel 3', 'parcel 0'], 7)],
  ])('a claim does not wait for %s: it takes the others', async (_name, act) => {
    await first.begin();
    await act();
    expect(await second.claimIds({ queues: ['parcels'] })).toEqual(['parcel 1', 'parcel 2']);
    await first.commit();
  });

  it('a change of priority is what the next claim goes by', async () => {
    await first.queues.setPriority(['parcel 3'], -1);
    expect(await second.claimIds({ queues: ['parcels'], limit: 2 })).toEqual([
      'parcel 3',
      'parcel 0',
    ]);
  });

  it('a requeue while others are claimed brings nothing out of order', async () => {
    const executorId = 'dead';
    await first.claim({ queues: ['parcels'], limit: 2, executorId });
    await first.begin();
    await first.queues.requeue({ executorIds: [executorId], countsAsRecovery: true });
    expect(await second.claimIds({ queues: ['parcels'], limit: 1 })).toEqual(['parcel 2']);
    await first.commit();
    expect(await second.claimIds({ queues: ['parcels'] })).toEqual([
      'parcel 0',
      'parcel 1',
      'parcel 3',
    ]);
  });

  it('a replacement is not claimed with what it replaced', async () => {
    await first.begin();
    await first.claim({ queues: ['parcels'], limit: 1 });
    const replacing = second.queues.replaceWaiting({
      workflowId: 'parcel 0',
      queue: 'parcels',
      name: NAME,
      input: { text: '["new"]', format: 'json' },
    });
    await first.holdsUp(second, observer);
    await first.commit();
    expect(await replacing).toBe(false);
  });
});

describe('A storm of claims, cancels, changes of priority, enqueues and requeues over three sessions', () => {
  it('locks nobody up', async () => {
    const queues = ['one', 'two', 'three'];
    for (const queue of queues) await observer.declare(queue, { concurrency: 20 });
    const ids = queues.flatMap((queue) => numbered(60, queue));
    for (const queue of queues) await observer.enqueue(queue, numbered(60, queue));
    const shuffled = (salt: number): string[] =>
      [...ids].sort((a, b) => ((a.length * 31 + salt) % 7) - ((b.length * 31 + salt) % 7));
    const storm = async (session: QueueSession, salt: number): Promise<void> => {
      for (let round = 0; round < 60; round += 1) {
        const turned = [
          ...queues.slice((round + salt) % 3),
          ...queues.slice(0, (round + salt) % 3),
        ];
        await session.claim({ queues: turned, limit: 30 });
        await session.queues.setPriority(shuffled(round + salt).slice(0, 20), round % 3);
        await session.queues.requeue({
          executorIds: [first, second, third].map(({ pid }) => `session ${pid}`),
          countsAsRecovery: true,
        });
        if (round % 10 === salt) await session.control.cancel(shuffled(salt).slice(0, 5), ALONE);
        await session.queues.configure(turned[0]!, { concurrency: 10 + (round % 10) });
      }
    };
    await Promise.all([storm(first, 0), storm(second, 1), storm(third, 2)]);
    expect(await deadlocksUntilNow()).toBe(0);
  });
});
