// Versions of the application (B43, B66): who takes what, what is stranded, and how it is moved.
import { Injectable } from '@nestjs/common';
import { Scheduled, Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
import type { DbosModuleOptions } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { QueueSession } from '../support/queue-session.js';
import { startTestApp, type TestApp } from '../support/test-app.js';

/** Runs only in the application whose gate is open. */
@Injectable()
class Checkout {
  static gate = deferred<void>();

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Checkout' })
  async run(): Promise<string> {
    await this.flow.step('charge', () => 'charged');
    await Checkout.gate.promise;
    return 'done';
  }

  @Workflow({ name: 'Receipt' })
  async receipt(): Promise<string> {
    return this.flow.recv<string>('print');
  }
}

@Injectable()
class ChangedCheckout {
  @Workflow({ name: 'Checkout' })
  async run(): Promise<string> {
    return 'changed';
  }
}

@Injectable()
class Greeting {
  @Workflow({ name: 'Greeting' })
  async run(name: string): Promise<string> {
    return `Hello ${name}`;
  }
}

@Injectable()
class NewGreeting {
  @Workflow({ name: 'Greeting', version: 2 })
  async run(name: string): Promise<string> {
    return `Good day, ${name}`;
  }
}

@Injectable()
class NewestGreeting {
  constructor(private readonly workflows: WorkflowService) {}

  @Workflow({ name: 'Greeting', version: 10 })
  async run(name: string): Promise<string> {
    return `Welcome, ${name}`;
  }

  @Workflow({ name: 'Parent' })
  async parent(): Promise<string> {
    return this.workflows.execute(NewestGreeting).run('child');
  }
}

@Injectable()
class Report {
  @Workflow({ name: 'Report', version: 3 })
  @Scheduled('* * * * * *')
  async run(_tick: Date): Promise<void> {}
}

let database: TestDatabase;
let session: QueueSession;
const apps: TestApp[] = [];

/** Without a version as if none were configured. */
async function app(
  applicationVersion: string | undefined,
  providers: Array<new (...args: never[]) => object> = [Checkout],
  options: Partial<DbosModuleOptions> = {},
): Promise<TestApp> {
  const started = await startTestApp({
    url: database.url,
    providers,
    options: { shutdown: { graceMs: 0 }, ...options, applicationVersion: applicationVersion! },
  });
  apps.push(started);
  return started;
}

/** An application of version v1 that has begun a checkout. */
async function beginAsV1(): Promise<TestApp> {
  const old = await app('v1');
  await old.workflows.start(Checkout, { workflowId: 'order 1' }).run();
  await eventually(async () => expect(await old.workflows.steps('order 1')).toHaveLength(1));
  return old;
}

/** On the queue parcels; closed after the test. */
async function openTwo(): Promise<[QueueSession, QueueSession]> {
  const [first, second] = [
    await QueueSession.open(database.url),
    await QueueSession.open(database.url),
  ];
  opened.push(first, second);
  await session.declare('parcels');
  return [first, second];
}

const opened: QueueSession[] = [];

const notifierOf = (one: TestApp) => one.get(Engine)['parts'].common.notifier;

const versionOf = (one: TestApp): string | null => one.get(Engine).versionInUse ?? null;

beforeAll(async () => {
  database = await createTestDatabase();
  session = await QueueSession.open(database.url);
});

afterEach(async () => {
  Checkout.gate.resolve();
  await Promise.all([...apps.splice(0), ...opened.splice(0)].map((one) => one.close()));
  await session.query(
    'TRUNCATE dbos.workflows, dbos.steps, dbos.executors, dbos.application_versions, dbos.workflow_actions',
  );
  Checkout.gate = deferred();
});

afterAll(async () => {
  await session.close();
  await database.drop();
});

describe('B43: the version of an application', () => {
  it('is the same for the same workflows in any order, and another for changed ones', async () => {
    const one = await app(undefined, [Checkout, Greeting]);
    const same = await app(undefined, [Greeting, Checkout]);
    const changed = await app(undefined, [Greeting, ChangedCheckout]);
    expect(versionOf(same)).toBe(versionOf(one));
    expect(versionOf(changed)).not.toBe(versionOf(one));
    expect(versionOf(one)).toMatch(/^[0-9a-f]{16}$/);
  });

  it('is stored with what it starts; what a process starts that runs none is of the version that claims it', async () => {
    const worker = await app('v1');
    const api = await app(undefined, [Checkout], { runWorkflows: false });
    Checkout.gate.resolve();
    const here = await worker.workflows.start(Checkout).run();
    const there = await api.workflows.start(Checkout).run();
    expect(await there.result()).toBe('done');
    expect(await here.status()).toMatchObject({ applicationVersion: 'v1' });
    expect(await there.status()).toMatchObject({ applicationVersion: 'v1' });
    expect(api.get(Engine).versionInUse).toBeUndefined();
  });
});

describe('B43: what a version has not started', () => {
  it('is not recovered by another, but reported, and explained', async () => {
    const old = await beginAsV1();
    const next = await app('v2', [ChangedCheckout]);
    await old.close();

    await eventually(async () => {
      const { stranded } = await next.workflows.recovery();
      expect(stranded).toEqual([
        {
          name: 'Checkout',
          version: 'v1',
          count: 1,
          reason: 'no live executor may run its version',
        },
      ]);
    });
    const { reason, sentence } = await next.workflows.explain('order 1');
    expect(reason).toMatchObject({ kind: 'no-executor', missing: 'version', version: 'v1' });
    expect(sentence).toContain('may run version "v1"');
    expect(sentence).toContain("workflows.setVersion('order 1', '…')");
  });

  it('is taken by another that is told it may, and is its own from then on', async () => {
    const old = await beginAsV1();
    const next = await app('v2', [Checkout], { compatibleVersions: ['v1'] });
    await old.close();
    Checkout.gate.resolve();

    expect(await next.workflows.handle('order 1').result()).toBe('done');
    expect(await next.workflows.handle('order 1').status()).toMatchObject({
      applicationVersion: 'v2', // whose code has added to its history
    });
  });

  it('goes on at once with a live process of its version when one of another wakes it', async () => {
    const unlooking = { sessionUrl: database.url, pollIntervalMs: 600_000, parkAfterMs: 0 };
    const old = await app('v1', [Checkout], unlooking);
    await old.workflows.start(Checkout, { workflowId: 'receipt 1' }).receipt();
    const handle = old.workflows.handle('receipt 1');
    await eventually(async () =>
      expect(await handle.status()).toMatchObject({ status: 'DELAYED' }),
    );
    const next = await app('v2', [Checkout], unlooking);
    await eventually(() => expect(notifierOf(next).hasAudience).toBe(true));

    await next.workflows.send('receipt 1', 'printed', { topic: 'print' });

    expect(await handle.result()).toBe('printed');
    expect(await handle.status()).toMatchObject({ applicationVersion: 'v1' });
  });

  it('has no version: it is for the latest that is alive and has its workflow, else for the former', async () => {
    const loose = (id: string, name: string) =>
      session.workflows.start({ id, name, input: { text: '["Ada"]', format: 'json' } });
    await session.register('old', 'v1', ['Packing', 'Greeting']);
    await session.register('next', 'v2', ['Packing', 'Checkout']);
    await loose('one', 'Packing');
    await loose('two', 'Greeting');
    const names = ['Packing', 'Greeting'];
    expect(await session.claimIds({ queues: [], names, versions: ['v1'] })).toEqual(['two']);

    await session.query(`UPDATE dbos.executors SET dead_at = now() WHERE id = 'next'`);

    expect(await session.claimIds({ queues: [], names, versions: ['v1'] })).toEqual(['one']);
  });

  it('was suspended: a later version that comes takes it over, a former one does not', async () => {
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input, application_version, epoch)
       VALUES ('stuck', 'Greeting', 'SUSPENDED', 'json', '["Ada"]', 'v2', 1)`,
    );
    for (const version of ['v1', 'v2', 'v3'])
      await session.register(version, version, ['Greeting']);
    expect(await session.workflows.resumeSuspended(['Greeting'], 'v1')).toEqual([]);
    await session.query(`UPDATE dbos.executors SET dead_at = now()`);

    const next = await app('v4', [Greeting]);

    const handle = next.workflows.handle('stuck');
    expect(await handle.result()).toBe('Hello Ada');
    expect(await handle.status()).toMatchObject({ applicationVersion: 'v4' });
  });
});

describe('Moving to another version', () => {
  it('takes what nobody owns, once, and notes it', async () => {
    const old = await beginAsV1();
    const next = await app('v2', [Checkout]);
    await old.close();
    await eventually(async () =>
      expect((await next.workflows.recovery()).stranded).toHaveLength(1),
    );
    Checkout.gate.resolve();

    const move = () => next.workflows.setVersion({ applicationVersion: 'v1' }, 'v2', { by: 'ada' });
    expect(await move()).toEqual(['order 1']);
    expect(await move()).toEqual([]);

    expect(await next.workflows.handle('order 1').result()).toBe('done');
    expect(await next.workflows.actions('order 1')).toEqual([
      expect.objectContaining({
        action: 'versionSet',
        by: 'ada',
        detail: { from: 'v1', to: 'v2' },
      }),
    ]);
  });

  it('leaves what runs to its owner, and what has an outcome to history', async () => {
    const old = await app('v1', [Checkout, Greeting]);
    await old.workflows.start(Checkout, { workflowId: 'running' }).run();
    await old.workflows.execute(Greeting, { workflowId: 'ended' }).run('Ada');
    expect(await old.workflows.setVersion(['running', 'ended', 'unknown'], 'v2')).toEqual([]);
    expect(await old.workflows.setVersion({ applicationVersion: 'v1' }, 'v2')).toEqual([]);
    Checkout.gate.resolve();
    expect(await old.workflows.handle('running').result()).toBe('done');
  });

  it('waits for a claim that is under way, and finds the workflow owned', async () => {
    const [first, second] = await openTwo();
    await session.enqueue('parcels', [{ id: 'parcel', applicationVersion: 'v1' }]);
    await first.begin();
    expect(await first.claimIds({ queues: ['parcels'] })).toEqual(['parcel']);
    const moving = second.control.setVersion(['parcel'], 'v2', { by: null });
    await first.holdsUp(second, session);

    await first.commit();

    expect(await moving).toEqual([]);
  });

  it('is an option of a fork', async () => {
    const { workflows } = await app('v1', [Greeting]);
    await workflows.execute(Greeting, { workflowId: 'ended' }).run('Ada');
    const fork = await workflows.fork('ended', { from: 0, applicationVersion: 'v2' });
    expect(await fork.status()).toMatchObject({ status: 'ENQUEUED', applicationVersion: 'v2' });
  });
});

describe('Versions of one workflow side by side', () => {
  it('are taken by starts from the newest, by what is unfinished and by name from its own', async () => {
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input)
       VALUES ('old', 'Greeting', 'ENQUEUED', 'json', '["Ada"]'), ('two', 'Greeting@2', 'ENQUEUED', 'json', '["Ada"]')`,
    );
    const { workflows } = await app('v1', [Greeting, NewestGreeting, NewGreeting]);

    expect(await workflows.execute(Greeting).run('Ada')).toBe('Welcome, Ada');
    expect(await workflows.execute(Greeting, { version: 2 }).run('Ada')).toBe('Good day, Ada');
    expect(await workflows.handle('old').result()).toBe('Hello Ada');
    expect(await workflows.handle('two').result()).toBe('Good day, Ada');
  });

  it('are one workflow to their parents: a replay finds the child of an older one', async () => {
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, epoch, serialization, input)
       VALUES ('parent', 'Parent', 'ENQUEUED', 1, 'json', '[]'), ('parent-0', 'Greeting@2', 'ENQUEUED', 0, 'json', '["child"]')`,
    );
    const { workflows } = await app('v1', [NewGreeting, NewestGreeting]);
    expect(await workflows.handle('parent').result()).toBe('Good day, child');
  });

  it('are started by a schedule from the newest', async () => {
    const { workflows } = await app('v1', [Report]);
    await eventually(async () =>
      expect((await workflows.list({ name: 'Report@3', limit: 1 })).workflows).toMatchObject([
        { status: 'SUCCESS', applicationVersion: 'v1' },
      ]),
    );
  });

  it('cannot be registered twice, or with the version in the name', async () => {
    const decorate = () =>
      Workflow({ name: 'Greeting@2' })(Greeting.prototype, 'other', { value: () => 1 });
    expect(decorate).toThrow('does not end in its version');
    await expect(app('v1', [NewGreeting, SecondGreeting])).rejects.toThrow('Greeting@2');
  });
});

@Injectable()
class SecondGreeting {
  @Workflow({ name: 'Greeting', version: 2 })
  async run(): Promise<string> {
    return 'again';
  }
}

describe('A claim beside what waits for another version', () => {
  const waiting = (sets: ReadonlyArray<readonly [string, string | undefined, number]>) =>
    session.enqueue(
      'parcels',
      sets.map(([id, version, priority]) => ({
        id,
        priority,
        ...(version !== undefined && { applicationVersion: version }),
      })),
    );

  it('does not walk through it, on a queue, in partitions, or on none', async () => {
    await session.declare('parcels');
    await session.declare('parts', { partition: { concurrency: 50 } });
    const backlog = `
      INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, partition_key, application_version)
      SELECT coalesce($1, 'none') || $2 || n, 'Packing', 'ENQUEUED', 'json', '[]', $1,
             CASE WHEN $1 = 'parts' THEN $2 || n END, $2
        FROM generate_series(1, $3::integer) AS n`;
    for (const queue of ['parcels', 'parts', null]) {
      await session.query(backlog, [queue, 'v1', 10_000]);
      await session.query(backlog, [queue, 'v2', 10]);
    }
    await session.register('old', 'v1', ['Packing']);
    for (const [versions, count] of [
      [`'{v2}', `, 30],
      ['', 30], // as processes claim that know of no versions
      [`'{v1}', `, 100],
    ] as const) {
      await session.begin();
      const before = await rowsRead();
      const taken = await session.query<{ id: string }>(
        `SELECT id FROM dbos.claim_workflows('claimer', '{Packing}', ${versions}'[{"queue": "parcels", "running": 0},
                                             {"queue": "parts", "running": 0}]', 100, 'infinity')`,
      );
      const read = (await rowsRead()) - before;
      await session.query('ROLLBACK');
      expect(taken).toHaveLength(count + 1);
      expect(taken.slice(0, 30).every(({ id }) => id.includes('v2'))).toBe(count === 30);
      expect(read).toBeLessThan(500);
    }
  });

  it('keeps the order of the queue over several versions it may run', async () => {
    await session.declare('parcels');
    await waiting([
      ['a', 'v1', 0],
      ['b', 'v2', 0],
      ['c', 'v1', -1],
      ['d', 'v2', 0],
      ['e', undefined, 0],
    ]);
    const versions = ['v2', 'v1'];
    const first = await session.claimIds({ queues: ['parcels'], versions, limit: 3 });
    expect(first).toEqual(['c', 'a', 'b']);
    expect(await session.claimIds({ queues: ['parcels'], versions })).toEqual(['d', 'e']);
  });

  it('holds no more of several versions than it takes, and another takes the rest', async () => {
    const [first, second] = await openTwo();
    await waiting([
      ['a', 'v1', 0],
      ['b', 'v2', 0],
      ['c', 'v1', 0],
      ['d', 'v2', 0],
    ]);
    const claim = { queues: ['parcels'], versions: ['v2', 'v1'] };
    await first.begin();
    expect(await first.claimIds({ ...claim, limit: 3 })).toEqual(['a', 'b', 'c']);
    expect(await second.claimIds({ ...claim, limit: 3 })).toEqual(['d']);
    await first.commit();
  });

  it('of a process that knows of no versions leaves what belongs to those that do', async () => {
    await session.register('new', 'v2', ['Packing']);
    await session.declare('parcels');
    await waiting([
      ['a', 'v2', 0],
      ['b', 'v0', 0],
      ['c', undefined, 0],
    ]);
    const taken = await session.query(`
      SELECT id FROM dbos.claim_workflows('old', '{Packing}', '[{"queue": "parcels", "running": 0}]', 10, 'infinity')
       WHERE id IS NOT NULL`);
    expect(taken).toEqual([{ id: 'b' }, { id: 'c' }]);
  });
});

async function rowsRead(): Promise<number> {
  const [row] = await session.query<{ rows: number }>(
    `SELECT coalesce(seq_tup_read + idx_tup_fetch, 0)::int AS rows FROM pg_stat_xact_user_tables
      WHERE relid = 'dbos.workflows'::regclass`,
  );
  return row!.rows;
}
