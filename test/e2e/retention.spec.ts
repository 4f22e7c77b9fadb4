// Retention: what has ended is removed by age and by number, with all that belongs to it; what is active never.
import { Injectable } from '@nestjs/common';
import {
  CheckpointRepository,
  Step,
  Workflow,
  WorkflowContext,
  WorkflowService,
  type RetentionOptions,
  type RemovedCounts,
} from 'nestjs-dbos';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, type NestApp } from '../support/nest-app.js';

@Injectable()
class Life {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  @Workflow()
  async run(): Promise<string> {
    return this.step();
  }

  @Step()
  async step(): Promise<string> {
    return 'done';
  }

  /** Leaves something in every table. */
  @Workflow()
  async leaving(): Promise<unknown> {
    await this.flow.setEvent('ready', true);
    await this.flow.writeStream('progress', 1);
    await this.flow.createToken();
    return this.flow.recv('go');
  }

  @Workflow()
  async waiting(): Promise<unknown> {
    return this.flow.recv('go');
  }

  /** Starts a child, waits, and asks for the child's result. */
  @Workflow()
  async parent(child: string): Promise<unknown> {
    const handle = await this.workflows.start(Life, { workflowId: child }).run();
    await this.flow.recv('go');
    return handle.result();
  }

  @Workflow()
  async nested(depth: number): Promise<void> {
    const workflowId = `${this.flow.workflowId}-child`;
    if (depth > 0) await this.workflows.execute(Life, { workflowId }).nested(depth - 1);
  }
}

const OLD = '1d';
const NONE: RemovedCounts = {
  SUCCESS: 0,
  ERROR: 0,
  CANCELLED: 0,
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: 0,
};

describe('Retention', () => {
  let database: TestDatabase;
  const opened: NestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    for (const app of opened.splice(0)) {
      await app.prisma
        .$executeRaw`TRUNCATE dbos.workflows, dbos.steps, dbos.messages, dbos.events, dbos.tokens`;
      await app.close();
    }
  });
  afterAll(() => database.drop());

  /** Sweeps when it is told to. */
  async function start(retention?: RetentionOptions): Promise<NestApp> {
    const app = await startNestApp({
      url: database.url,
      providers: [Life],
      options: {
        parkAfterMs: 100,
        ...(retention && { retention: { interval: '1h', ...retention } }),
      },
    });
    opened.push(app);
    await eventually(() => expect(app.workflows.retention()?.sweeps ?? 1).toBe(1)); // the first one
    return app;
  }

  async function ids({ workflows }: NestApp): Promise<string[]> {
    const page = await workflows.list({ order: 'oldest', limit: 1_000 });
    return page.workflows.map(({ workflowId }) => workflowId);
  }

  /** Ended so long ago; `arrivedDaysAgo` where it was imported. */
  async function write(
    { prisma }: NestApp,
    status: string,
    rows: ReadonlyArray<{ id: string; endedHoursAgo: number; importedHoursAgo?: number }>,
  ): Promise<void> {
    for (const { id, endedHoursAgo, importedHoursAgo } of rows) {
      await prisma.$executeRaw`
        INSERT INTO dbos.workflows (id, name, status, created_at, completed_at, imported_at, serialization, input)
        VALUES (${id}, 'Life.run', ${status}, now() - ${endedHoursAgo}::int * interval '1 hour',
                CASE WHEN ${status} IN ('SUCCESS', 'ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
                     THEN now() - ${endedHoursAgo}::int * interval '1 hour' END,
                now() - ${importedHoursAgo ?? null}::int * interval '1 hour', 'json', '[]')`;
    }
  }

  const age = ({ prisma }: NestApp) => prisma.$executeRaw`
    UPDATE dbos.workflows SET completed_at = completed_at - interval '10 days', created_at = created_at - interval '10 days'`;

  it('B63: removes what ended longer ago than its age, and says how many of each outcome', async () => {
    const app = await start({ maxAge: OLD });
    await write(app, 'SUCCESS', [
      { id: 'a', endedHoursAgo: 25 },
      { id: 'b', endedHoursAgo: 25 },
    ]);
    await write(app, 'ERROR', [{ id: 'c', endedHoursAgo: 25 }]);
    await write(app, 'SUCCESS', [{ id: 'young', endedHoursAgo: 23 }]);
    const removed = { ...NONE, SUCCESS: 2, ERROR: 1 };
    expect(await app.workflows.applyRetention()).toEqual(removed);
    expect(await ids(app)).toEqual(['young']);
    expect(app.workflows.retention()).toMatchObject({ sweeps: 2, removed, lastRemoved: removed });
    expect(await app.workflows.applyRetention()).toEqual(NONE);
    expect(app.workflows.retention()).toMatchObject({ sweeps: 3, removed, lastRemoved: NONE });
  });

  it('B63: keeps the newest 1 of 10 finished, and 1 that is running', async () => {
    const app = await start({ maxCount: 1 });
    await app.workflows.start(Life, { workflowId: 'running' }).waiting();
    for (let n = 0; n < 10; n += 1)
      await app.workflows.execute(Life, { workflowId: `w${n}` }).run();
    expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 9 });
    expect(await ids(app)).toEqual(['running', 'w9']);
  });

  it('B63: keeps none of what is to be kept in no number', async () => {
    const app = await start({ maxCount: 0 });
    await app.workflows.execute(Life).run();
    await app.workflows.applyRetention();
    expect(await ids(app)).toEqual([]);
  });

  it('B63: never removes what is active, however old', async () => {
    const app = await start({ maxAge: 0, maxCount: 0 });
    const active = ['PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED'];
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, executor_id, wake_at, created_at, serialization, input)
      SELECT status, 'Unknown', status, CASE WHEN status = 'PENDING' THEN ${executorOf(app)} END,
             CASE WHEN status = 'DELAYED' THEN timestamptz '2050-01-01' END, timestamptz '2020-01-01', 'json', '[]'
        FROM unnest(${active}::text[]) AS given(status)`;
    expect(await app.workflows.applyRetention()).toEqual(NONE);
    expect((await ids(app)).sort()).toEqual([...active].sort());
  });

  it.each([
    { maxAge: '1d', maxCount: 3, kept: ['c', 'd'] },
    { maxAge: '10d', maxCount: 1, kept: ['d'] },
    { maxAge: '10d', maxCount: 9, kept: ['a', 'b', 'c', 'd'] },
  ] as const)('B63: removes what either says, $maxAge or $maxCount', async ({ kept, ...keep }) => {
    const app = await start(keep);
    await write(app, 'SUCCESS', [
      { id: 'a', endedHoursAgo: 50 },
      { id: 'b', endedHoursAgo: 40 },
      { id: 'c', endedHoursAgo: 20 },
      { id: 'd', endedHoursAgo: 10 },
    ]);
    await app.workflows.applyRetention();
    expect(await ids(app)).toEqual(kept);
  });

  it('B63: is content with empty tables', async () => {
    const app = await start({ maxAge: OLD, maxCount: 10 });
    expect(await app.workflows.applyRetention()).toEqual(NONE);
  });

  it('has rules of its own for each outcome', async () => {
    const app = await start({
      maxAge: OLD,
      outcomes: { error: { maxAge: '7d' }, cancelled: { maxCount: 1 }, deadLettered: 'forever' },
    });
    const rows = (prefix: string) => [
      { id: `${prefix} old`, endedHoursAgo: 100 },
      { id: `${prefix} new`, endedHoursAgo: 1 },
    ];
    await write(app, 'SUCCESS', rows('success'));
    await write(app, 'ERROR', rows('error'));
    await write(app, 'CANCELLED', rows('cancelled'));
    await write(app, 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', rows('dead'));
    await app.workflows.applyRetention();
    expect(await ids(app)).toEqual([
      'success new',
      'error old',
      'error new',
      'cancelled new',
      'dead old',
      'dead new',
    ]);
  });

  it('B63: removes all that belongs to a workflow, from every table', async () => {
    const app = await start({ maxAge: OLD });
    const handle = await app.workflows.start(Life, { workflowId: 'w' }).leaving();
    await app.workflows.send('w', 'now', { topic: 'go' });
    await handle.result();
    await app.workflows.restart('w', { workflowId: 'again' });
    await app.workflows.cancel('again');
    const before = await rowsOf(app, 'w');
    expect(
      before
        .filter(({ rows }) => rows > 0)
        .map(({ table }) => table)
        .sort(),
    ).toEqual(
      expect.arrayContaining([
        'events',
        'messages',
        'steps',
        'stream_entries',
        'tokens',
        'workflow_actions',
      ]),
    );
    await age(app);
    await app.workflows.applyRetention();
    expect((await rowsOf(app, 'w')).filter(({ rows }) => rows > 0)).toEqual([]);
    expect(await ids(app)).toEqual([]);
  });

  it('B63: removes three layers of children with their parents', async () => {
    const app = await start({ maxAge: OLD });
    await app.workflows.execute(Life, { workflowId: 'w' }).nested(3);
    expect(await ids(app)).toHaveLength(4);
    await age(app);
    expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 4 });
  });

  it('keeps a child whose parent may still ask for its result', async () => {
    const app = await start({ maxAge: OLD });
    const parent = await app.workflows.start(Life, { workflowId: 'parent' }).parent('child');
    await eventually(async () => {
      const { workflows } = await app.workflows.list();
      const statuses = workflows.map(({ workflowId, status }) => `${workflowId} ${status}`).sort();
      expect(statuses).toEqual(['child SUCCESS', 'parent DELAYED']);
    });
    await age(app);
    expect(await app.workflows.applyRetention()).toEqual(NONE);
    await app.workflows.send('parent', 'now', { topic: 'go' });
    expect(await parent.result()).toBe('done');
    expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 1 });
    expect(await ids(app)).toEqual(['parent']);
  });

  it('counts the age of what was imported from its import', async () => {
    const app = await start({ maxAge: OLD });
    await write(app, 'SUCCESS', [
      { id: 'just imported', endedHoursAgo: 500, importedHoursAgo: 1 },
      { id: 'imported long ago', endedHoursAgo: 500, importedHoursAgo: 30 },
    ]);
    await app.workflows.applyRetention();
    expect(await ids(app)).toEqual(['just imported']);
  });

  it('goes through everything in batches, past what stays', async () => {
    const app = await start({ maxAge: OLD, batchSize: 10 });
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, created_at, completed_at, serialization, input)
      SELECT 'n' || n, 'Life.run', 'SUCCESS', now() - interval '9 days',
             CASE WHEN n % 2 = 0 THEN now() ELSE now() - interval '8 days' END, 'json', '[]'
        FROM generate_series(1, 95) AS n`;
    expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 48 });
    expect(await ids(app)).toHaveLength(47);
  });

  it('looks no further than where all is younger', async () => {
    const app = await start({ maxAge: OLD, batchSize: 10 });
    await app.prisma.$executeRaw`
      INSERT INTO dbos.workflows (id, name, status, completed_at, serialization, input)
      SELECT 'n' || n, 'Life.run', 'SUCCESS', now(), 'json', '[]' FROM generate_series(1, 95) AS n`;
    const { retention } = app.app.get(CheckpointRepository);
    const batch = { outcome: 'SUCCESS', keptFrom: undefined, after: undefined, size: 10 } as const;
    const removal = await retention.remove({ ...batch, maxAgeMs: 1_000_000 });
    expect(removal).toEqual({ removed: 0, reached: undefined, isBusy: false });
  });

  it('leaves what somebody holds locked to the next sweep', async () => {
    const app = await start({ maxAge: OLD });
    await write(app, 'SUCCESS', [
      { id: 'held', endedHoursAgo: 30 },
      { id: 'free', endedHoursAgo: 30 },
    ]);
    await app.prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`SELECT FROM dbos.workflows WHERE id = 'held' FOR UPDATE`;
      expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 1 });
    });
    expect(await ids(app)).toEqual(['held']);
    expect(await app.workflows.applyRetention()).toEqual({ ...NONE, SUCCESS: 1 });
  });

  it('is done by one process at a time', async () => {
    const app = await start({ maxAge: OLD });
    await write(app, 'SUCCESS', [{ id: 'old', endedHoursAgo: 30 }]);
    await app.prisma.$transaction(async (transaction) => {
      await transaction.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('nestjs-dbos retention', 0))`;
      expect(await app.workflows.applyRetention()).toEqual(NONE);
    });
    expect(await ids(app)).toEqual(['old']);
  });

  it('P3: goes on by itself, at every interval', async () => {
    const app = await start({ maxAge: OLD, interval: 100 });
    await write(app, 'SUCCESS', [{ id: 'a', endedHoursAgo: 30 }]);
    await eventually(async () => expect(await ids(app)).toEqual([]));
    await write(app, 'CANCELLED', [{ id: 'b', endedHoursAgo: 30 }]);
    await eventually(async () => expect(await ids(app)).toEqual([]));
    expect(app.workflows.retention()?.removed).toEqual({ ...NONE, SUCCESS: 1, CANCELLED: 1 });
  });

  it('removes nothing where none is configured', async () => {
    const app = await start();
    expect(app.workflows.retention()).toBeUndefined();
    await expect(app.workflows.applyRetention()).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringContaining('retention') as string,
    });
  });

  it.each<[string, object]>([
    ['retention needs', {}],
    ['retention.maxAge', { maxAge: 'a day' }],
    ['retention.maxAge', { maxAge: '-1d' }],
    ['retention.maxCount', { maxCount: 1.5 }],
    ['retention.outcomes.error.maxCount', { outcomes: { error: { maxCount: -1 } } }],
    ['retention.outcomes may name', { maxAge: OLD, outcomes: { running: { maxCount: 1 } } }],
    ['retention.interval', { maxAge: OLD, interval: 1 }],
    ['retention.batchSize', { maxAge: OLD, batchSize: 0 }],
    ['retention needs', { maxAge: OLD, outcomes: forever() }],
  ])('is refused with an unusable option: %s', async (message, retention) => {
    const app = startNestApp({ url: database.url, providers: [Life], options: { retention } });
    await expect(app).rejects.toMatchObject({
      code: 'DBOS_INVALID_ARGUMENT',
      message: expect.stringContaining(message) as string,
    });
  });
});

function forever(): RetentionOptions['outcomes'] {
  return { success: 'forever', error: 'forever', cancelled: 'forever', deadLettered: 'forever' };
}

function executorOf({ app }: NestApp): string {
  return app.get(Engine).executorId;
}

/** How many rows each table has that belong to this workflow. */
async function rowsOf(
  { prisma }: NestApp,
  workflowId: string,
): Promise<Array<{ table: string; rows: number }>> {
  const tables = await prisma.$queryRaw<Array<{ name: string }>>`
    SELECT table_name::text AS name
      FROM information_schema.columns
     WHERE table_schema = 'dbos' AND column_name = 'workflow_id'`;
  return Promise.all(
    tables.map(async ({ name }) => {
      const [row] = await prisma.$queryRawUnsafe<Array<{ rows: number }>>(
        `SELECT count(*)::int AS rows FROM dbos.${name} WHERE workflow_id = $1`,
        workflowId,
      );
      return { table: name, rows: row!.rows };
    }),
  );
}
