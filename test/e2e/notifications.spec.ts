// Wake-ups between processes: heard at once, and no more than a hint. Whatever is lost of them is found by looking.
import { Injectable } from '@nestjs/common';
import { CheckpointRepository, Workflow, WorkflowContext } from 'nestjs-dbos';
import pg from 'pg';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import { CHANNEL } from '../../libs/dbos/src/prisma/postgres-notifier.js';
import type { PostgresSession } from '../../libs/dbos/src/prisma/postgres-session.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startDeafProxy, type DeafProxy } from '../support/deaf-proxy.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fake-clock.js';
import { startGatedApp } from '../support/gated-app.js';
import { startTestApp, type TestApp, type TestAppSettings } from '../support/test-app.js';

@Injectable()
class Inbox {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Inbox' })
  async run(count: number): Promise<number[]> {
    const received: number[] = [];
    for (let index = 0; index < count; index += 1)
      received.push(await this.flow.recvOrThrow<number>('in', { timeout: '5m' }));
    await this.flow.setEvent('received', received);
    return received;
  }
}

/** Nobody finds anything by looking, be it because he leaves memory. */
const UNLOOKING = { pollIntervalMs: 600_000, parkAfterMs: 600_000 } as const;

describe('A notification', () => {
  let database: TestDatabase;
  let admin: pg.Client;
  const apps: TestApp[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
  });

  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
    await admin.query('TRUNCATE dbos.workflows, dbos.steps, dbos.messages');
  });

  afterAll(async () => {
    await admin.end();
    await database.drop();
  });

  async function start(
    options: TestAppSettings['options'] = {},
    providers: TestAppSettings['providers'] = [Inbox],
  ): Promise<TestApp> {
    const app = await startTestApp({
      url: database.url,
      providers,
      options: { sessionUrl: database.url, ...UNLOOKING, ...options },
    });
    apps.push(app);
    return app;
  }

  /** One that runs workflows, and one that does not; each knows of the other. */
  async function startTwo(
    options: TestAppSettings['options'] = {},
  ): Promise<{ runner: TestApp; sender: TestApp }> {
    const runner = await start(options);
    const sender = await start({ runWorkflows: false });
    await eventually(() => {
      expect(notifierOf(sender).isListening).toBe(true);
      expect(notifierOf(sender).hasAudience).toBe(true);
      expect(notifierOf(runner).hasAudience).toBe(true);
    });
    return { runner, sender };
  }

  function notifierOf({ app }: TestApp) {
    return app.get(Engine)['parts'].common.notifier;
  }

  async function waits({ app }: TestApp, workflowId: string): Promise<void> {
    const { arrivals } = app.get(Engine)['parts'];
    await eventually(() =>
      expect([...(arrivals['waiters'].get(workflowId) ?? [])].some(({ wake }) => wake)).toBe(true),
    );
  }

  /** As a network does that breaks connections. */
  async function cutSessions(): Promise<void> {
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'nestjs-dbos session'`,
    );
  }

  it('tells the process that runs a workflow of its message at once', async () => {
    const { runner, sender } = await startTwo();
    const handle = await runner.workflows.start(Inbox).run(1);
    await waits(runner, handle.workflowId);
    await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
  });

  it('tells another process of an event that it waits for', async () => {
    const { runner, sender } = await startTwo();
    const { workflowId } = await runner.workflows.start(Inbox).run(1);
    const event = sender.workflows.getEvent(workflowId, 'received');
    await waits(sender, workflowId);
    await runner.workflows.send(workflowId, 1, { topic: 'in' });
    expect(await event).toEqual([1]);
  });

  it('tells another process of a workflow that a message has woken', async () => {
    const { runner, sender } = await startTwo({ parkAfterMs: 0 });
    const handle = await runner.workflows.start(Inbox).run(1);
    await eventually(async () =>
      expect(await handle.status()).toMatchObject({ status: 'DELAYED' }),
    );
    await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
  });

  it('tells another process of a workflow that it has woken and cannot run', async () => {
    const { runner } = await startTwo({ parkAfterMs: 0 });
    const stranger = await start({}, []);
    await eventually(() => expect(notifierOf(stranger).hasAudience).toBe(true));
    const handle = await runner.workflows.start(Inbox).run(1);
    await eventually(async () =>
      expect(await handle.status()).toMatchObject({ status: 'DELAYED' }),
    );
    await stranger.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
  });

  it.each(['here', 'elsewhere'])(
    'that comes from %s between look and wait ends the wait',
    async (where) => {
      const runner = await startGatedApp({
        url: database.url,
        providers: [Inbox],
        options: { sessionUrl: database.url, ...UNLOOKING },
      });
      apps.push(runner);
      const sender = where === 'here' ? runner : await start({ runWorkflows: false });
      await eventually(() =>
        expect([sender === runner, notifierOf(sender).hasAudience]).toContain(true),
      );
      const gate = runner.gates.hold('dbos.receive_messages', 'committed');
      const handle = await runner.workflows.start(Inbox).run(1);
      await gate.reached;
      const { arrivals } = runner.app.get(Engine)['parts'];
      await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
      await eventually(() =>
        expect([...(arrivals['waiters'].get(handle.workflowId) ?? [])]).toMatchObject([
          { isArmed: false },
        ]),
      );
      gate.open();
      expect(await handle.result()).toEqual([1]);
    },
  );

  it('of a transaction is heard by its own process, which learns of no others from it', async () => {
    const app = await start();
    await eventually(() => expect(notifierOf(app).isListening).toBe(true));
    const handle = await app.prisma.$transaction((tx) => app.workflows.start(Inbox, { tx }).run(0));

    expect(await handle.result()).toEqual([]);
    expect(notifierOf(app).hasAudience).toBe(false);
  });

  it('B66: that was missed while the connection was away is made up for when it is back', async () => {
    const { runner, sender } = await startTwo();
    const handle = await runner.workflows.start(Inbox).run(1);
    await waits(runner, handle.workflowId);
    await cutSessions();
    await eventually(() => expect(notifierOf(runner).isListening).toBe(false));
    await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
    await eventually(() => expect(notifierOf(runner).isListening).toBe(true));
  });

  it('B66: may be lost any number of times', async () => {
    const { runner, sender } = await startTwo();
    const handle = await runner.workflows.start(Inbox).run(30);
    for (let number = 0; number < 30; number += 1) {
      if (number % 3 === 0) await cutSessions();
      await sender.workflows.send(handle.workflowId, number, { topic: 'in' });
    }
    expect(await handle.result()).toEqual(Array.from({ length: 30 }, (_, number) => number));
  });

  it('of something that nobody sent is ignored', async () => {
    const { runner, sender } = await startTwo();
    for (const payload of [
      '',
      'nonsense',
      'null',
      '{"from":1}',
      '{"from":"x","topics":{"arrival":7}}',
    ])
      await admin.query('SELECT pg_notify($1, $2)', [CHANNEL, payload]);
    const handle = await runner.workflows.start(Inbox).run(1);
    await waits(runner, handle.workflowId);
    await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
  });

  it('of more than fits into one tells everybody to look', async () => {
    const { runner, sender } = await startTwo();
    const handles = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        runner.workflows.start(Inbox, { workflowId: `${'long'.repeat(50)} ${index}` }).run(1),
      ),
    );
    await Promise.all(handles.map(({ workflowId }) => waits(runner, workflowId)));
    await Promise.all(
      handles.map(({ workflowId }, index) =>
        sender.workflows.send(workflowId, index, { topic: 'in' }),
      ),
    );
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(
      handles.map((_, index) => [index]),
    );
  });
});

describe('A connection that delivers no notifications', () => {
  let database: TestDatabase;
  let proxy: DeafProxy;

  beforeAll(async () => {
    database = await createTestDatabase();
    proxy = await startDeafProxy(database.url);
  });

  afterAll(async () => {
    await proxy.close();
    await database.drop();
  });

  it('S-63: is found out, reported once, and polled around', async () => {
    const app = await startTestApp({
      url: database.url,
      providers: [Inbox],
      options: { sessionUrl: proxy.url(database.url) },
    });
    const { notifier } = app.app.get(Engine)['parts'].common;
    const warnings: string[] = [];
    const { logger } = (notifier as unknown as { parts: { logger: { warn(text: string): void } } })
      .parts;
    logger.warn = (text) => void warnings.push(text);

    const sender = await startTestApp({ url: database.url, options: { runWorkflows: false } });
    const handle = await app.workflows.start(Inbox).run(1);
    await sender.workflows.send(handle.workflowId, 1, { topic: 'in' });
    expect(await handle.result()).toEqual([1]);
    await eventually(() => expect(warnings).toEqual([expect.stringContaining('sessionUrl')]));
    expect(notifier.isListening).toBe(false);
    await sender.close();
    await app.close();
  });
});

describe('B66: The connection that listens', () => {
  let database: TestDatabase;
  let admin: pg.Client;
  let proxy: DeafProxy;
  let clock: FakeClock;
  let app: TestApp;
  let session: PostgresSession;

  beforeAll(async () => {
    database = await createTestDatabase();
    proxy = await startDeafProxy(database.url);
    admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
  });

  /** Its time to connect again comes when the test says so. */
  beforeEach(async () => {
    clock = new FakeClock();
    app = await startTestApp({
      url: database.url,
      options: { sessionUrl: proxy.url(database.url) },
    });
    ({ session } = app.app.get<unknown, { session: PostgresSession }>(CheckpointRepository));
    Object.assign(session['settings'], { clock });
    await eventually(() => {
      if (!session.isListening) throw new Error('The session does not listen yet.');
    });
  });

  afterEach(() => app.close());

  afterAll(async () => {
    await admin.end();
    await proxy.close();
    await database.drop();
  });

  async function cut(): Promise<void> {
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'nestjs-dbos session'`,
    );
  }

  async function sessionsOnServer(): Promise<unknown[]> {
    const { rows } = await admin.query<{ query: string }>(
      `SELECT query FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'nestjs-dbos session'`,
    );
    return rows;
  }

  /** Once whatever would connect again has had every opportunity to. The server takes a moment to see an end. */
  async function afterwards(): Promise<ReturnType<typeof none>> {
    clock.advance(60_000);
    await session['connecting'];
    await eventually(async () => {
      if ((await sessionsOnServer()).length > 0) throw new Error('A session is still there.');
    });
    return { accepted: proxy.accepted, timers: clock.pending, state: session.state };
  }

  const none = (accepted: number) => ({ accepted, timers: [] as number[], state: 'off' });

  it('is made again when it broke, as long as the application runs', async () => {
    await cut();
    await eventually(() => expect(clock.pending).toEqual([500]));
    clock.advance(500);
    await eventually(async () =>
      expect(await sessionsOnServer()).toEqual([
        { query: expect.stringContaining('LISTEN') as string },
      ]),
    );
  });

  it('is not made again after a shutdown', async () => {
    const { accepted } = proxy;
    await app.close();
    expect(await afterwards()).toEqual(none(accepted));
  });

  it('is not made again after a shutdown when it broke before', async () => {
    await cut();
    await eventually(() => expect(clock.pending).toEqual([500]));
    const { accepted } = proxy;
    await app.close();
    expect(await afterwards()).toEqual(none(accepted));
  });

  it('is not made again when it breaks during the shutdown', async () => {
    const { accepted } = proxy;
    await Promise.all([app.close(), cut()]);
    expect(await afterwards()).toEqual(none(accepted));
  });

  it('is not kept when it is being made during the shutdown', async () => {
    await cut();
    await eventually(() => expect(clock.pending).toEqual([500]));
    const { accepted } = proxy;
    clock.advance(500);
    await session.close();
    await app.close();
    expect(await afterwards()).toEqual(none(accepted + 1));
  });

  it('is not made again for a heartbeat that ends after the shutdown', async () => {
    const { accepted } = proxy;
    await app.close();
    expect(await session.hold('late')).toBe(false);
    expect(await afterwards()).toEqual(none(accepted));
  });

  it('is not made again for an executor that joins anew while it is closed', async () => {
    const { accepted } = proxy;
    const held = session.hold('anew');
    await session.close();
    expect(await held).toBe(false);
    expect(await afterwards()).toEqual(none(accepted));
  });
});
