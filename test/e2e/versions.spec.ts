// Versions of the application (B43, B66): who takes what, what is stranded, and how it is moved.
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext, WorkflowService } from 'nestjs-dbos';
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

let database: TestDatabase;
const apps: TestApp[] = [];

async function app(
  applicationVersion: string | undefined,
  providers: Array<new (...args: never[]) => object> = [Checkout],
  options: object = {},
): Promise<TestApp> {
  const version = applicationVersion === undefined ? {} : { applicationVersion };
  const { applicationVersion: _default, ...none } = { applicationVersion, ...options };
  const started = await startTestApp({
    url: database.url,
    providers,
    options: { ...none, ...(applicationVersion === undefined ? DIGEST : version) },
  });
  apps.push(started);
  return started;
}

/** As if nothing were configured. */
const DIGEST = { applicationVersion: undefined as unknown as string };

const versionOf = (one: TestApp): string | null => one.get(Engine).versionInUse ?? null;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterEach(async () => {
  Checkout.gate.resolve();
  await Promise.all(apps.splice(0).map((one) => one.close()));
  const session = await QueueSession.open(database.url);
  await session.query(
    'TRUNCATE dbos.workflows, dbos.steps, dbos.executors, dbos.application_versions, dbos.workflow_actions',
  );
  await session.close();
  Checkout.gate = deferred();
});

afterAll(() => database.drop());

describe('B43: the version of an application', () => {
  it('is the same for the same workflows in any order, and another for changed ones', async () => {
    const one = await app(undefined, [Checkout, Greeting]);
    const same = await app(undefined, [Greeting, Checkout]);
    const changed = await app(undefined, [Greeting, ChangedCheckout]);
    expect(versionOf(same)).toBe(versionOf(one));
    expect(versionOf(changed)).not.toBe(versionOf(one));
    expect(versionOf(one)).toMatch(/^[0-9a-f]{32}$/);
  });

  it('is stored with what it starts, and nothing by a process that runs none', async () => {
    const worker = await app('v1');
    const api = await app(undefined, [Checkout], { runWorkflows: false });
    Checkout.gate.resolve();
    const here = await worker.workflows.start(Checkout).run();
    const there = await api.workflows.start(Checkout).run();
    expect(await there.result()).toBe('done');
    expect(await here.status()).toMatchObject({ applicationVersion: 'v1' });
    expect(await there.status()).toMatchObject({ applicationVersion: null });
  });
});

describe('B43: what a version has not started', () => {
  it('is not recovered by another, but reported, and explained', async () => {
    const old = await app('v1');
    const handle = await old.workflows.start(Checkout, { workflowId: 'order 1' }).run();
    await eventually(async () => expect(await old.workflows.steps('order 1')).toHaveLength(1));
    const next = await app('v2', [ChangedCheckout]);
    await old.kill();

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
    const { reason, sentence } = await next.workflows.explain(handle.workflowId);
    expect(reason).toMatchObject({ kind: 'no-executor', missing: 'version', version: 'v1' });
    expect(sentence).toContain('may run version "v1"');
  });

  it('is taken by another that is told it may', async () => {
    const old = await app('v1');
    await old.workflows.start(Checkout, { workflowId: 'order 1' }).run();
    await eventually(async () => expect(await old.workflows.steps('order 1')).toHaveLength(1));
    const next = await app('v2', [Checkout], { compatibleVersions: ['v1'] });
    await old.kill();
    Checkout.gate.resolve();

    expect(await next.workflows.handle('order 1').result()).toBe('done');
  });

  it('goes on with a live process of its version, whoever wakes it', async () => {
    const old = await app('v1', [Checkout], { parkAfterMs: 0 });
    await old.workflows.start(Checkout, { workflowId: 'receipt 1' }).receipt();
    await eventually(async () =>
      expect(await old.workflows.handle('receipt 1').status()).toMatchObject({ status: 'DELAYED' }),
    );
    const next = await app('v2', [Checkout]);

    await next.workflows.send('receipt 1', 'printed', { topic: 'print' });

    expect(await next.workflows.handle('receipt 1').result()).toBe('printed');
    expect(await next.workflows.handle('receipt 1').status()).toMatchObject({
      applicationVersion: 'v1',
    });
  });

  it('has no version: it is for the latest that is alive, and for the former once that is gone', async () => {
    const session = await QueueSession.open(database.url);
    const old = await app('v1', [Checkout]);
    const next = await app('v2', [Greeting]); // the latest, and does not know the workflow
    await session.workflows.startMany([
      { id: 'loose', name: 'Checkout', input: { text: '[]', format: 'json' } },
    ]);
    Checkout.gate.resolve();
    const claimed = await session.queues.claim({
      executorId: 'former',
      names: ['Checkout'],
      versions: ['v1'],
      queues: [],
      limit: 10,
      validForMs: 60_000,
      expiresAt: new Date(Date.now() + 60_000),
    });
    expect(claimed.claimed).toEqual([]);

    await next.close();

    expect(await old.workflows.handle('loose').result()).toBe('done');
    await session.close();
  });

  it('was suspended: the version that resumes it takes it over', async () => {
    const session = await QueueSession.open(database.url);
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input, application_version, epoch)
       VALUES ('stuck', 'Greeting', 'SUSPENDED', 'json', '["Ada"]', 'v1', 1)`,
    );
    const next = await app('v2', [Greeting]);
    const handle = next.workflows.handle('stuck');
    expect(await handle.result()).toBe('Hello Ada');
    expect(await handle.status()).toMatchObject({ applicationVersion: 'v2' });
    await session.close();
  });
});

describe('Moving to another version', () => {
  it('takes what nobody owns, once, and notes it', async () => {
    const old = await app('v1');
    await old.workflows.start(Checkout, { workflowId: 'order 1' }).run();
    await eventually(async () => expect(await old.workflows.steps('order 1')).toHaveLength(1));
    const next = await app('v2', [Checkout]);
    await old.kill();
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
    const [first, second] = [
      await QueueSession.open(database.url),
      await QueueSession.open(database.url),
    ];
    const observer = await QueueSession.open(database.url);
    await first.declare('parcels');
    await first.enqueue('parcels', [{ id: 'parcel', applicationVersion: 'v1' }]);
    await first.begin();
    expect(await first.claimIds({ queues: ['parcels'] })).toEqual(['parcel']);
    const moving = second.control.setVersion(['parcel'], 'v2', { by: null });
    await first.holdsUp(second, observer);

    await first.commit();

    expect(await moving).toEqual([]);
    await Promise.all([first, second, observer].map((session) => session.close()));
  });
});

describe('Versions of one workflow side by side', () => {
  it('are taken by starts from the newest, by what is unfinished and by name from its own', async () => {
    const session = await QueueSession.open(database.url);
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, serialization, input)
       VALUES ('old', 'Greeting', 'ENQUEUED', 'json', '["Ada"]'), ('two', 'Greeting@2', 'ENQUEUED', 'json', '["Ada"]')`,
    );
    const { workflows } = await app('v1', [Greeting, NewestGreeting, NewGreeting]);

    expect(await workflows.execute(Greeting).run('Ada')).toBe('Welcome, Ada');
    expect(await workflows.execute(Greeting, { version: 2 }).run('Ada')).toBe('Good day, Ada');
    expect(await workflows.handle('old').result()).toBe('Hello Ada');
    expect(await workflows.handle('two').result()).toBe('Good day, Ada');
    await session.close();
  });

  it('are one workflow to their parents: a replay finds the child of an older one', async () => {
    const session = await QueueSession.open(database.url);
    await session.query(
      `INSERT INTO dbos.workflows (id, name, status, epoch, serialization, input)
       VALUES ('parent', 'Parent', 'ENQUEUED', 1, 'json', '[]'), ('parent-0', 'Greeting@2', 'ENQUEUED', 0, 'json', '["child"]')`,
    );
    const { workflows } = await app('v1', [NewGreeting, NewestGreeting]);
    expect(await workflows.handle('parent').result()).toBe('Good day, child');
    await session.close();
  });

  it('cannot be registered twice, or with the version in the name', async () => {
    expect(() => Workflow({ name: 'Greeting@2' })(class {}.prototype, 'run', {})).toThrow();
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
  const FILLING_MS = 60_000;

  it(
    'does not walk through it, on a queue, in partitions, or on none',
    async () => {
      const session = await QueueSession.open(database.url);
      await session.declare('free');
      await session.declare('parts', { partition: { concurrency: 50 } });
      const backlog = `INSERT INTO dbos.workflows (id, name, status, serialization, input, queue, partition_key, application_version)
        SELECT $1::text || $2 || n, 'Packing', 'ENQUEUED', 'json', '[]', $3, CASE WHEN $3 = 'parts' THEN 'part ' || n % 3 END, $2
          FROM generate_series(1, $4::integer) AS n`;
      for (const queue of ['free', 'parts', null]) {
        await session.query(backlog, [queue ?? 'none', 'v1', queue, 20_000]);
        await session.query(backlog, [queue ?? 'none', 'v2', queue, 10]);
      }
      for (const [queue, taken] of [
        [['free'], 20],
        [['parts'], 20],
      ] as const) {
        const before = await fetched(session);
        await session.begin();
        const ids = await session.claimIds({ queues: [...queue], versions: ['v2'] });
        const after = await fetched(session);
        await session.query('ROLLBACK');
        expect(ids).toHaveLength(taken);
        expect(ids.every((id) => id.includes('v2'))).toBe(true);
        expect(after - before).toBeLessThan(1_000);
      }
      await session.query('TRUNCATE dbos.workflows');
      await session.close();
    },
    FILLING_MS,
  );

  it('keeps the order of the queue over several versions it may run', async () => {
    const session = await QueueSession.open(database.url);
    await session.declare('free');
    await session.enqueue('free', [
      { id: 'a', applicationVersion: 'v1' },
      { id: 'b', applicationVersion: 'v2' },
      { id: 'c', applicationVersion: 'v1', priority: -1 },
      { id: 'd', applicationVersion: 'v2' },
      'e',
    ]);
    const versions = ['v2', 'v1'];
    expect(await session.claimIds({ queues: ['free'], versions, limit: 3 })).toEqual([
      'c',
      'a',
      'b',
    ]);
    expect(await session.claimIds({ queues: ['free'], versions })).toEqual(['d', 'e']);
    await session.close();
  });
});

async function fetched(session: QueueSession): Promise<number> {
  const [row] = await session.query<{ rows: number }>(
    `SELECT coalesce(idx_tup_fetch, 0)::int AS rows FROM pg_stat_xact_user_tables
      WHERE relid = 'dbos.workflows'::regclass`,
  );
  return row!.rows;
}
