// Readers in another process than the writer: told by notifications, and without any by polling.
import { CheckpointRepository } from 'nestjs-dbos';
import { deferred } from '../../libs/dbos/src/core/deferred.js';
import { Engine } from '../../libs/dbos/src/engine/engine.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';
import { StatementGates } from '../support/statement-gates.js';
import { PRISMA, startTestApp, type TestApp } from '../support/test-app.js';

const NEVER_MS = 600_000;
const COUNT = 3;
const VALUES = ['value 0', 'value 1', 'value 2', 'noted'];

describe('B58: A reader in another process', () => {
  let database: TestDatabase;
  let ledger: Ledger;
  let child: ChildApp;
  let app: TestApp | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    ledger = await Ledger.open(database.url);
    await ledger.create();
  });
  afterEach(async () => {
    await app?.close();
    await child.close();
  });
  afterAll(async () => {
    await ledger.close();
    await database.drop();
  });

  /** Reads only. The child comes after it and knows from its first heartbeat that somebody listens. */
  async function startReader(options: {
    sessionUrl: string | false;
    pollIntervalMs: number;
    prisma?: string;
    gates?: StatementGates;
  }): Promise<TestApp> {
    const { gates = new StatementGates(), ...rest } = options;
    const gated = {
      provide: 'GatedPrisma',
      inject: [PRISMA],
      useFactory: (client: PrismaClientLike) => gates.wrap(client),
    };
    app = await startTestApp({
      url: database.url,
      providers: [gated],
      options: { runWorkflows: false, prisma: 'GatedPrisma', ...rest },
    });
    child = await ChildApp.start({ url: database.url, session: true });
    return app;
  }

  const reader = (workflowId: string): AsyncIterator<string> =>
    app!.workflows.readStream<string>(workflowId, 'progress')[Symbol.asyncIterator]();

  /** Lets the child write each value only when the reader waits for it. */
  async function readOneByOne(workflowId: string): Promise<string[]> {
    for (let index = 0; index < COUNT; index += 1) await child.stopAt(`write ${index}`);
    await child.startWorkflow('Streaming', workflowId, COUNT);
    const values: string[] = [];
    const reading = reader(workflowId);
    for (let index = 0; index < COUNT; index += 1) {
      await child.reached(`write ${index}`);
      const next = reading.next();
      await eventually(() => expect(app!.get(Engine).streams.watch.size).toBe(1));
      await child.goOnFrom(`write ${index}`);
      values.push((await next).value as string);
    }
    for (let next = await reading.next(); !next.done; next = await reading.next())
      values.push(next.value);
    return values;
  }

  it('is told of every value, although it hardly ever polls', async () => {
    await startReader({ sessionUrl: database.url, pollIntervalMs: NEVER_MS });
    expect(await readOneByOne('told')).toEqual(VALUES);
  });

  it('is told of the end of a writer that closes nothing', async () => {
    await startReader({ sessionUrl: database.url, pollIntervalMs: NEVER_MS });
    await child.stopAt('noted');
    await child.startWorkflow('Streaming', 'ends', COUNT, { closes: false });
    await child.reached('noted');
    const reading = reader('ends');
    for (const value of VALUES) expect((await reading.next()).value).toBe(value);
    const end = reading.next();
    await eventually(() => expect(app!.get(Engine).streams.watch.size).toBe(1));
    await child.goOnFrom('noted');
    expect(await end).toEqual({ done: true, value: undefined });
  });

  it('gets every value by polling when it hears nothing', async () => {
    await startReader({ sessionUrl: false, pollIntervalMs: 20 });
    expect(await readOneByOne('polled')).toEqual(VALUES);
  });

  it('gets what was written while its session was cut', async () => {
    await startReader({ sessionUrl: database.url, pollIntervalMs: NEVER_MS });
    await child.stopAt('write 1');
    await child.startWorkflow('Streaming', 'cut', COUNT);
    const reading = reader('cut');
    expect((await reading.next()).value).toBe(VALUES[0]);
    const next = reading.next();
    await child.reached('write 1');
    await ledger.query(
      `SELECT pg_terminate_backend(e.pid)
         FROM pg_locks l JOIN pg_stat_activity e USING (pid)
        WHERE l.locktype = 'advisory' AND e.application_name = 'nestjs-dbos session'
          AND e.datname = current_database()`,
    );
    await child.goOnFrom('write 1');
    expect((await next).value).toBe(VALUES[1]);
    const rest = [];
    for (let more = await reading.next(); !more.done; more = await reading.next())
      rest.push(more.value);
    expect(rest).toEqual(VALUES.slice(2));
  });

  it('is told although there is more to tell than a notification holds', async () => {
    await startReader({ sessionUrl: database.url, pollIntervalMs: NEVER_MS });
    const ids = Array.from({ length: 60 }, (_, index) => `${index} ${'long '.repeat(50)}`);
    await child.stopAt('write 0');
    await Promise.all(ids.map((id) => child.startWorkflow('Streaming', id, COUNT)));
    const all = ids.map(async (id) => {
      const values: string[] = [];
      for await (const value of app!.workflows.readStream<string>(id, 'progress'))
        values.push(value);
      return values;
    });
    await eventually(() => expect(app!.get(Engine).streams.watch.size).toBe(ids.length));
    await child.goOnFrom('write 0');
    for (const values of await Promise.all(all)) expect(values).toEqual(VALUES);
  });

  it('misses nothing that is written while it is being answered', async () => {
    const gates = new StatementGates();
    await startReader({ sessionUrl: database.url, pollIntervalMs: NEVER_MS, gates });
    await child.stopAt('write 0');
    await child.startWorkflow('Streaming', 'gap', COUNT);
    await child.reached('write 0');
    const told = deferred<void>();
    const { notifier } = app!.app.get(CheckpointRepository);
    notifier.subscribe('stream', () => told.resolve()); // after the engine itself
    const answer = gates.hold('dbos.read_streams', 'committed');
    const first = reader('gap').next();
    await answer.reached; // nothing was there yet, and the answer is on its way
    await child.goOnFrom('write 0');
    await told.promise;
    answer.open();
    expect((await first).value).toBe(VALUES[0]);
  });
});
