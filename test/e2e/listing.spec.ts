// Lists and counts of workflows: every filter, pages, payloads, attributes.
import { Injectable } from '@nestjs/common';
import { jest } from '@jest/globals';
import {
  CheckpointRepository,
  DbosModule,
  Queue,
  InjectQueue,
  Workflow,
  WorkflowService,
  type ListQuery,
} from 'nestjs-dbos';
import type { ListingRepository } from '../../libs/dbos/src/repository/listing-repository.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, type NestApp } from '../support/nest-app.js';

@Injectable()
class Orders {
  constructor(
    private readonly workflows: WorkflowService,
    @InjectQueue('orders') private readonly queue: Queue,
  ) {}

  @Workflow()
  async run(order: string): Promise<string> {
    return `${order} done`;
  }

  @Workflow()
  async failing(order: string): Promise<string> {
    throw new Error(`no ${order}`);
  }

  @Workflow()
  async withChildren(children: string[]): Promise<void> {
    for (const workflowId of children)
      await this.workflows.execute(Orders, { workflowId }).run(workflowId);
  }

  @Workflow()
  async listing(query: ListQuery): Promise<string[]> {
    return (await this.workflows.list(query)).workflows.map(({ workflowId }) => workflowId);
  }

  enqueue(workflowId: string, deduplicationId?: string): Promise<unknown> {
    const options = deduplicationId === undefined ? {} : { deduplicationId };
    return this.queue.enqueue(Orders, { workflowId, ...options }).run(workflowId);
  }
}

/** A row as it is after a long life, without the life. */
interface Row {
  readonly id: string;
  readonly status?: string;
  readonly createdAt?: Date;
  readonly startedAt?: Date;
  readonly completedAt?: Date;
  readonly version?: string;
  readonly executorId?: string;
  readonly forkedFrom?: string;
  readonly importedAt?: Date;
}

const day = (n: number): Date => new Date(Date.UTC(2026, 0, n));

describe('Workflows', () => {
  let database: TestDatabase;
  let app: NestApp;

  beforeAll(async () => {
    database = await createTestDatabase();
    app = await startNestApp({
      url: database.url,
      before: [DbosModule.registerQueue({ name: 'orders' })],
      providers: [Orders],
      options: { executorId: 'shop-1', applicationVersion: 'v1' },
    });
  });
  afterEach(() => app.prisma.$executeRaw`TRUNCATE dbos.workflows, dbos.steps`);
  afterAll(async () => {
    await app.close();
    await database.drop();
  });

  async function listed(query: ListQuery = {}): Promise<string[]> {
    const { workflows } = await app.workflows.list(query);
    return workflows.map(({ workflowId }) => workflowId);
  }

  async function write(...rows: Row[]): Promise<void> {
    for (const row of rows) {
      await app.prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, created_at, started_at, completed_at, application_version,
                                    executor_id, forked_from, imported_at, serialization, input)
        VALUES (${row.id}, 'Orders.run', ${row.status ?? 'SUCCESS'}, ${row.createdAt ?? day(1)}::timestamptz,
                ${row.startedAt ?? null}::timestamptz, ${row.completedAt ?? null}::timestamptz, ${row.version ?? null},
                ${row.executorId ?? null}, ${row.forkedFrom ?? null}, ${row.importedAt ?? null}::timestamptz,
                'json', '[]')`;
    }
  }

  const run = (workflowId: string, attributes?: Record<string, unknown>): Promise<string> =>
    app.workflows
      .execute(Orders, { workflowId, ...(attributes && { attributes }) })
      .run(workflowId);

  it('B64: are listed in the order of their arrival, the newest first or the oldest', async () => {
    await run('a');
    await run('b');
    await run('c');
    expect(await listed()).toEqual(['c', 'b', 'a']);
    expect(await listed({ order: 'oldest' })).toEqual(['a', 'b', 'c']);
  });

  it.each(['newest', 'oldest'] as const)(
    'B64: come in pages without gap or overlap, the %s first',
    async (order) => {
      await write(
        ...Array.from({ length: 7 }, (_, n) => ({
          id: `w${n}`,
          status: n % 2 ? 'ERROR' : 'SUCCESS',
        })),
      );
      const pages: string[][] = [];
      let after: string | undefined;
      do {
        const page = await app.workflows.list({ order, limit: 3, ...(after && { after }) });
        pages.push(page.workflows.map(({ workflowId }) => workflowId));
        after = page.next;
      } while (after && pages.length < 9);
      const all = Array.from({ length: 7 }, (_, n) => `w${order === 'oldest' ? n : 6 - n}`);
      expect(pages).toEqual([all.slice(0, 3), all.slice(3, 6), all.slice(6)]);
    },
  );

  it('B64: are found by ids, id prefix, status and name', async () => {
    await run('order-1');
    await run('order-2');
    await run('other%1');
    await app.workflows
      .execute(Orders, { workflowId: 'order-3' })
      .failing('it')
      .catch(() => {});
    expect(await listed({ ids: ['order-2', 'order-2', 'other%1', 'nobody'] })).toEqual([
      'other%1',
      'order-2',
    ]);
    expect(await listed({ idPrefix: 'order-' })).toEqual(['order-3', 'order-2', 'order-1']);
    expect(await listed({ idPrefix: 'other%' })).toEqual(['other%1']);
    expect(await listed({ status: 'ERROR' })).toEqual(['order-3']);
    expect(await listed({ status: ['ERROR', 'CANCELLED'] })).toEqual(['order-3']);
    expect(await listed({ name: 'Orders.failing' })).toEqual(['order-3']);
    expect(await listed({ name: ['Orders.run', 'X'], idPrefix: 'order-' })).toEqual([
      'order-2',
      'order-1',
    ]);
    expect(await listed({ ids: ['order-1', 'order-3'], status: 'ERROR' })).toEqual(['order-3']);
  });

  it('B64: are found by whether they have an error', async () => {
    await run('fine');
    await app.workflows
      .execute(Orders, { workflowId: 'failed' })
      .failing('it')
      .catch(() => {});
    expect(await listed({ hasError: true })).toEqual(['failed']);
    expect(await listed({ hasError: false })).toEqual(['fine']);
  });

  it('B64: are found by queue and deduplication id, active or ended', async () => {
    await run('started');
    await app.app.get(Orders).enqueue('queued');
    await app.app.get(Orders).enqueue('deduplicated', 'one at a time');
    await eventually(async () => expect(await listed({ status: 'SUCCESS' })).toHaveLength(3));
    expect(await listed({ queue: 'orders' })).toEqual(['deduplicated', 'queued']);
    expect(await listed({ queue: ['another'] })).toEqual([]);
    expect(await listed({ onQueue: true })).toEqual(['deduplicated', 'queued']);
    expect(await listed({ onQueue: false })).toEqual(['started']);
    expect(await listed({ deduplicationId: 'one at a time' })).toEqual(['deduplicated']);
  });

  it('B64: are found by executor, by its id or its configured name, and by version', async () => {
    await run('here');
    await write({ id: 'elsewhere', executorId: 'shop-11#123', version: 'v2' }, { id: 'nowhere' });
    const [here] = (await app.workflows.list({ ids: ['here'] })).workflows;
    expect(await listed({ executorId: here!.executorId! })).toEqual(['here']);
    expect(await listed({ executorId: 'shop-1' })).toEqual(['here']);
    expect(await listed({ executorId: ['shop-1', 'shop-11#123'] })).toEqual(['elsewhere', 'here']);
    expect(await listed({ applicationVersion: 'v2' })).toEqual(['elsewhere']);
    expect(await listed({ applicationVersion: ['v1', 'v2'] })).toEqual(['elsewhere', 'here']);
  });

  it('B64: are found by parent', async () => {
    await app.workflows
      .execute(Orders, { workflowId: 'parent' })
      .withChildren(['child 1', 'child 2']);
    expect(await listed({ parentId: 'parent' })).toEqual(['child 2', 'child 1']);
    expect(await listed({ parentId: ['parent', 'child 1'], idPrefix: 'child 2' })).toEqual([
      'child 2',
    ]);
    expect(await listed({ hasParent: true })).toEqual(['child 2', 'child 1']);
    expect(await listed({ hasParent: false })).toEqual(['parent']);
  });

  it('B64: are found by what they were forked from', async () => {
    await write({ id: 'origin' }, { id: 'fork', forkedFrom: 'origin' });
    expect(await listed({ forkedFrom: 'origin' })).toEqual(['fork']);
    expect(await listed({ isFork: true })).toEqual(['fork']);
    expect(await listed({ isFork: false })).toEqual(['origin']);
  });

  it('B64: are found by schedule, and not by one whose name goes on', async () => {
    const tick = day(1).toISOString();
    await write({ id: `sched-night-${tick}` }, { id: `sched-night-shift-${tick}` });
    expect(await listed({ schedule: 'night' })).toEqual([`sched-night-${tick}`]);
  });

  it.each(['created', 'started', 'completed'] as const)(
    'B64: are found by the time at which they were %s, the first moment included, the second not',
    async (moment) => {
      await write(...[1, 2, 3].map((n) => ({ id: `day ${n}`, [`${moment}At`]: day(n) })), {
        id: 'never',
        createdAt: day(9),
      });
      const between = { [`${moment}After`]: day(2), [`${moment}Before`]: day(3) };
      expect(await listed(between)).toEqual(['day 2']);
      expect(await listed({ [`${moment}Before`]: day(2) })).toEqual(['day 1']);
      expect(await listed({ [`${moment}After`]: day(2), idPrefix: 'day' })).toEqual([
        'day 3',
        'day 2',
      ]);
    },
  );

  it('B64: are found by attributes that contain what is asked for', async () => {
    await run('gold', { customer: { id: 7, tier: 'gold' }, tags: ['a', 'b'] });
    await run('silver', { customer: { id: 8, tier: 'silver' }, tags: ['b'] });
    await run('without');
    expect(await listed({ attributes: { customer: { tier: 'gold' } } })).toEqual(['gold']);
    expect(await listed({ attributes: { tags: ['b'] } })).toEqual(['silver', 'gold']);
    expect(await listed({ attributes: { tags: ['b'] }, ids: ['silver', 'without'] })).toEqual([
      'silver',
    ]);
    expect(await listed({ attributes: { customer: { tier: 'bronze' } } })).toEqual([]);
    expect(await listed({ attributes: {} })).toEqual(['silver', 'gold']);
  });

  it('have the attributes that they were enqueued with', async () => {
    const queue = { queue: 'orders', workflowId: 'queued', attributes: { vip: true } };
    await (await app.workflows.enqueue(Orders, queue).run('x')).result();
    expect((await app.workflows.list({ attributes: { vip: true } })).workflows).toMatchObject([
      { workflowId: 'queued', attributes: { vip: true } },
    ]);
  });

  it('B64: are given without their payloads unless these are asked for', async () => {
    await run('a');
    const [bare] = (await app.workflows.list()).workflows;
    const [full] = (await app.workflows.list({ loadInput: true, loadOutput: true })).workflows;
    expect(bare).not.toHaveProperty('input');
    expect(bare).not.toHaveProperty('output');
    expect(full).toMatchObject({ input: ['a'], output: 'a done' });
  });

  it('are given with payloads as they are stored where these cannot be decoded', async () => {
    await write({ id: 'strange' });
    await app.prisma.$executeRaw`UPDATE dbos.workflows SET serialization = 'unknown'`;
    const [strange] = (await app.workflows.list({ loadInput: true })).workflows;
    expect(strange).toMatchObject({ input: '[]' });
  });

  it('are found however far back they are, without an index for what they are found by', async () => {
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, serialization, input)
      SELECT 'n' || n, CASE WHEN n IN (1, 3000, 9000) THEN 'Rare' ELSE 'Common' END,
             CASE WHEN n % 3 = 0 THEN 'ERROR' ELSE 'SUCCESS' END, 'json', '[]'
        FROM generate_series(1, 9000) AS n`;
    expect(await listed({ name: 'Rare' })).toEqual(['n9000', 'n3000', 'n1']);
    expect(await listed({ name: 'Rare', order: 'oldest' })).toEqual(['n1', 'n3000', 'n9000']);
    const first = await app.workflows.list({ name: 'Rare', limit: 1 });
    expect(await listed({ name: 'Rare', limit: 1, after: first.next! })).toEqual(['n3000']);
    expect(await listed({ idPrefix: 'n', name: 'Rare' })).toEqual(['n9000', 'n3000', 'n1']);
  });

  it('are not overlooked for having been imported with an old time of creation', async () => {
    await write({ id: 'wanted', createdAt: day(20) });
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, created_at, imported_at, serialization, input)
      SELECT 'imported ' || n, 'Old', 'SUCCESS', timestamptz '2020-01-01', now(), 'json', '[]'
        FROM generate_series(1, 2500) AS n`;
    expect(await listed({ createdAfter: day(19) })).toEqual(['wanted']);
  });

  it('that were created lately are found without a look at what is older', async () => {
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, created_at, serialization, input)
      SELECT 'n' || n, 'Old', 'SUCCESS', now() - (20000 - n) * interval '1 hour', 'json', '[]'
        FROM generate_series(1, 20000) AS n`;
    const { listings } = app.app.get(CheckpointRepository);
    const looks = jest.spyOn(listings, 'list');
    const found = await listed({ createdAfter: new Date(Date.now() - 24.5 * 3_600_000) });
    expect(found).toHaveLength(25);
    expect(looks).toHaveBeenCalledTimes(2); // of ten
    looks.mockRestore();
  });

  it('are a checkpointed operation in a workflow', async () => {
    await run('a');
    const listing = await app.workflows
      .start(Orders, { workflowId: 'listing' })
      .listing({ ids: ['a'] });
    expect(await listing.result()).toEqual(['a']);
    expect(await app.workflows.steps('listing')).toMatchObject([{ name: 'workflows.list' }]);
  });

  it.each<[string, object]>([
    ['status', { status: 'DONE' }],
    ['status', { status: ['SUCCESS', 'DONE'] }],
    ['limit', { limit: 0 }],
    ['limit', { limit: 1_001 }],
    ['after', { after: 'x' }],
    ['order', { order: 'random' }],
    ['ids', { ids: Array.from({ length: 1_001 }, () => 'x') }],
    ['name', { name: 5 }],
    ['attributes', { attributes: ['x'] }],
    ['hasError', { hasError: 'yes' }],
    ['createdAfter', { createdAfter: 'yesterday' }],
    ['completedBefore', { completedBefore: new Date(Number.NaN) }],
    ['schedule', { schedule: 'x', idPrefix: 'y' }],
  ])('refuse an unusable %s', async (field, query) => {
    await expect(app.workflows.list(query as ListQuery)).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringContaining(field) as string,
    });
  });

  describe('are counted', () => {
    it('all together, with the longest wait and the longest life', async () => {
      await write(
        { id: 'a', createdAt: day(1), startedAt: day(2), completedAt: day(3) },
        { id: 'b', createdAt: day(4), startedAt: day(4), status: 'PENDING' },
      );
      const dayMs = 86_400_000;
      expect(await app.workflows.count()).toEqual({
        total: 2,
        groups: [
          { count: 2, oldest: day(1), newest: day(4), longestWaitMs: dayMs, longestMs: 2 * dayMs },
        ],
      });
    });

    it('by status, name and queue', async () => {
      await run('a');
      await run('b');
      await app.workflows
        .execute(Orders, { workflowId: 'c' })
        .failing('it')
        .catch(() => {});
      const { groups } = await app.workflows.count({ groupBy: ['status', 'name', 'queue'] });
      expect(groups).toMatchObject([
        { status: 'SUCCESS', name: 'Orders.run', queue: null, count: 2 },
        { status: 'ERROR', name: 'Orders.failing', queue: null, count: 1 },
      ]);
    });

    it('by executor and version, of those that a filter lets through', async () => {
      await write({ id: 'a', version: 'v1', executorId: 'x' }, { id: 'b', version: 'v2' });
      const query = { groupBy: ['executorId', 'applicationVersion'], idPrefix: 'a' } as const;
      expect((await app.workflows.count(query)).groups).toMatchObject([
        { executorId: 'x', applicationVersion: 'v1', count: 1 },
      ]);
    });

    it('in periods of time, the earliest first', async () => {
      await write(...[1, 1, 3].map((n, index) => ({ id: `w${index}`, createdAt: day(n) })));
      expect((await app.workflows.count({ bucket: '1d' })).groups).toMatchObject([
        { bucket: day(1), count: 2 },
        { bucket: day(3), count: 1 },
      ]);
    });

    it('to the last of many', async () => {
      await app.prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, serialization, input)
        SELECT 'n' || n, 'Many', CASE WHEN n % 4 = 0 THEN 'ERROR' ELSE 'SUCCESS' END, 'json', '[]'
          FROM generate_series(1, 10000) AS n`;
      const { total, groups } = await app.workflows.count({ groupBy: 'status' });
      expect(total).toBe(10_000);
      expect(groups).toMatchObject([
        { status: 'SUCCESS', count: 7_500 },
        { status: 'ERROR', count: 2_500 },
      ]);
    });

    it('as none where there is none', async () => {
      expect(await app.workflows.count()).toEqual({ total: 0, groups: [] });
    });

    it.each<[string, object]>([
      ['groupBy', { groupBy: 'colour' }],
      ['bucket', { bucket: 10 }],
      ['after', { after: '-1' }],
    ])('unless %s is unusable', async (field, query) => {
      await expect(app.workflows.count(query)).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining(field) as string,
      });
    });
  });

  describe('have their steps counted', () => {
    /** A step of workflow `a`, recorded on this day after so many seconds. */
    const step = (
      id: string,
      name: string,
      seconds: number,
      more: { on?: number; error?: string } = {},
    ) =>
      app.prisma.$executeRaw`
        INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, error, attempts, started_at,
                                completed_at)
        SELECT ${id}, count(*)::text, ${name}, 1, 'json', ${more.error ?? null}, 2,
               ${day(more.on ?? 1)}::timestamptz - ${seconds}::float8 * interval '1 second',
               ${day(more.on ?? 1)}::timestamptz
          FROM dbos.steps WHERE workflow_id = ${id}`;

    beforeEach(async () => {
      await write({ id: 'a' }, { id: 'b', version: 'v2' });
      await step('a', 'charge', 1);
      await step('a', 'ship', 5, { on: 3 });
      await step('b', 'charge', 3, { on: 2, error: '{}' });
    });

    it('F65: by name, with their attempts and how long they took', async () => {
      expect(await app.workflows.stepCounts()).toEqual({
        total: 3,
        groups: [
          {
            step: 'charge',
            count: 2,
            attempts: 4,
            averageMs: 2_000,
            longestMs: 3_000,
            oldest: day(1),
            newest: day(2),
          },
          {
            step: 'ship',
            count: 1,
            attempts: 2,
            averageMs: 5_000,
            longestMs: 5_000,
            oldest: day(3),
            newest: day(3),
          },
        ],
      });
    });

    it('F65: by workflow and outcome, of workflows that a filter lets through', async () => {
      const query = { groupBy: ['workflow', 'outcome'] } as const;
      expect((await app.workflows.stepCounts(query)).groups).toMatchObject([
        { workflow: 'Orders.run', outcome: 'succeeded', count: 2 },
        { workflow: 'Orders.run', outcome: 'failed', count: 1 },
      ]);
      const ofB = await app.workflows.stepCounts({ ...query, applicationVersion: 'v2' });
      expect(ofB.groups).toMatchObject([{ outcome: 'failed', count: 1 }]);
    });

    it('F65: of one name, and recorded within a time', async () => {
      const counted = async (query: object): Promise<number> =>
        (await app.workflows.stepCounts(query)).total;
      expect(await counted({ step: 'charge' })).toBe(2);
      expect(await counted({ stepEndedAfter: day(2) })).toBe(2);
      expect(await counted({ stepEndedBefore: day(2) })).toBe(1);
    });

    it('F65: in periods of time, the earliest first', async () => {
      const { groups } = await app.workflows.stepCounts({ bucket: '1d', groupBy: [] });
      expect(groups).toMatchObject([1, 2, 3].map((n) => ({ bucket: day(n), count: 1 })));
    });

    it('F65: to the last of many, those of each workflow together', async () => {
      await app.prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, serialization, input)
        SELECT 'n' || n, 'Many', CASE WHEN n % 4 = 0 THEN 'ERROR' ELSE 'SUCCESS' END, 'json', '[]'
          FROM generate_series(1, 2000) AS n`;
      await app.prisma.$executeRaw`
        INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, started_at)
        SELECT 'n' || n, step, 'step ' || step % 2, 1, 'json', now()
          FROM generate_series(1, 2000) AS n, generate_series(1, CASE WHEN n < 10 THEN 900 ELSE 4 END) AS step`;
      const looks = jest.spyOn(app.app.get(CheckpointRepository).listings, 'countSteps');
      const { total, groups } = await app.workflows.stepCounts({ name: 'Many' });
      const looked = await Promise.all(
        looks.mock.results.map(({ value }) => value as ReturnType<ListingRepository['countSteps']>),
      );
      const ofLook = looked.map(({ found }) => found.reduce((sum, { count }) => sum + count, 0));
      expect(Math.max(...ofLook)).toBeLessThan(5_000 + 900); // no look reads on once it has some thousand
      looks.mockRestore();
      expect(total).toBe(9 * 900 + 1_991 * 4);
      expect(groups).toMatchObject([{ count: total / 2 }, { count: total / 2 }]);
    });

    it.each<[string, object]>([
      ['groupBy', { groupBy: 'queue' }],
      ['bucket', { bucket: 10 }],
      ['after', { after: '-1' }],
      ['step', { step: '' }],
      ['stepEndedAfter', { stepEndedAfter: 'yesterday' }],
    ])('unless %s is unusable', async (field, query) => {
      await expect(app.workflows.stepCounts(query)).rejects.toMatchObject({
        code: 'DBOS_INVALID_ARGUMENT',
        message: expect.stringContaining(field) as string,
      });
    });
  });
});
