// A PostgreSQL of the test's own that stops, dies and comes back in the middle of the work.
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Injectable } from '@nestjs/common';
import { Workflow, WorkflowContext } from 'nestjs-dbos';
import pg from 'pg';
import { EmbeddedPostgres } from '../../libs/embedded-postgres/src/index.js';
import { ChildApp } from '../support/child-app.js';
import { createTestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { Ledger } from '../support/ledger.js';
import { createTestApp, startTestApp, type TestApp } from '../support/test-app.js';

@Injectable()
class Orders {
  readonly bodies: string[] = [];

  constructor(private readonly flow: WorkflowContext) {}

  @Workflow({ name: 'Order' })
  async run(steps: number): Promise<number> {
    let sum = 0;
    for (let index = 0; index < steps; index += 1) {
      sum += await this.flow.step(`step ${index}`, () => this.body(index));
    }
    return sum;
  }

  private async body(index: number): Promise<number> {
    this.bodies.push(`${this.flow.workflowId}/${index}`);
    await new Promise((resolve) => setImmediate(resolve));
    return index;
  }
}

const DATABASE = 'shop';
const TENS = Array.from({ length: 50 }, () => 10);

let directory: string;
let server: EmbeddedPostgres;
const apps: TestApp[] = [];

const start = async (): Promise<void> => {
  server = await EmbeddedPostgres.start({ directory, settings: { fsync: 'off' } });
};

/** As a loss of power: nothing is finished, nothing is told to anybody. */
async function killServer(): Promise<void> {
  const file = await readFile(join(server.dataDirectory, 'postmaster.pid'), 'utf8');
  const pid = Number.parseInt(file, 10);
  process.kill(pid, 'SIGKILL');
  await eventually(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'));
}

const settings = (options: object = {}): Parameters<typeof startTestApp>[0] => ({
  url: server.url(DATABASE),
  providers: [Orders],
  options: { sessionUrl: server.url(DATABASE), ...options },
});

async function startApp(options: object = {}): Promise<TestApp> {
  const app = await startTestApp(settings(options));
  apps.push(app);
  return app;
}

async function query(sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: server.url(DATABASE) });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Fifty orders of five steps each, under way. */
const orderMany = (app: TestApp): Promise<number[]> =>
  Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      app.workflows.execute(Orders, { workflowId: `order-${index}` }).run(5),
    ),
  );

beforeAll(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'database-restart-')), 'data');
  // Open to pass through, for the account that the server runs under when we are root.
  await chmod(dirname(directory), 0o755);
  await start();
  await server.createDatabase(DATABASE);
  await (await startApp()).close(); // brings the tables
});

afterEach(async () => {
  await start(); // where a test failed while it was down
  await Promise.all(apps.splice(0).map((app) => app.close()));
  await query('TRUNCATE dbos.workflows, dbos.steps, dbos.executors');
});

afterAll(async () => {
  await server.stop();
  await rm(dirname(directory), { recursive: true, force: true });
});

describe('A restart of PostgreSQL', () => {
  it.each([
    { way: 'stopped', stop: () => server.stop() },
    { way: 'killed', stop: killServer },
  ])('that was $way interrupts workflows and ends none', async ({ stop }) => {
    const app = await startApp();
    const results = orderMany(app);
    const { bodies } = app.get(Orders);
    await eventually(() => expect(bodies.length).toBeGreaterThan(60));

    await stop();
    await start();

    expect(await results).toEqual(TENS);
    expect(new Set(bodies).size).toBe(250);
    expect(bodies).toHaveLength(250);
    const ends = await query(
      'SELECT DISTINCT status, epoch, recovery_attempts FROM dbos.workflows',
    );
    expect(ends).toEqual([{ status: 'SUCCESS', epoch: 1, recovery_attempts: 0 }]);
  });

  it('that took longer than the lease takes no work from those that were alive all the time', async () => {
    const options = { leaseMs: 1_500, sessionUrl: false };
    const [one, other] = [await startApp(options), await startApp(options)];
    const results = [
      one.workflows.execute(Orders, { workflowId: 'of one' }).run(200),
      other.workflows.execute(Orders, { workflowId: 'of the other' }).run(200),
    ];
    await eventually(() => {
      expect(one.get(Orders).bodies.length).toBeGreaterThan(5);
      expect(other.get(Orders).bodies.length).toBeGreaterThan(5);
    });

    await server.stop();
    const stoppedAt = performance.now();
    await eventually(() => expect(performance.now() - stoppedAt).toBeGreaterThan(2_000));
    await start();

    expect(await Promise.all(results)).toEqual([19_900, 19_900]);
    expect(await query('SELECT DISTINCT epoch, recovery_attempts FROM dbos.workflows')).toEqual([
      { epoch: 1, recovery_attempts: 0 },
    ]);
  });

  it('kills no process and repeats no body, however often connections break under it', async () => {
    const outside = await createTestDatabase();
    const ledger = await Ledger.open(outside.url);
    await ledger.create();
    const url = server.url(DATABASE);
    const child = await ChildApp.start({ url, ledgerUrl: outside.url, session: true });

    await child.startWorkflow('Ticking', 'through it all', 60, 20);
    for (let round = 1; round <= 3; round += 1) {
      await query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      );
      await (round % 2 === 0 ? killServer() : server.stop());
      await start();
      await eventually(async () =>
        expect((await ledger.entries()).length).toBeGreaterThan(round * 15),
      );
    }

    expect(await child.result('through it all')).toBe((59 * 60) / 2);
    expect(await ledger.entries()).toHaveLength(60);
    await child.kill();
    await ledger.close();
    await outside.drop();
  });
});

describe('While PostgreSQL is down', () => {
  it('start() gives up after databasePatienceMs, and the same id can be started again later', async () => {
    const app = await startApp({ databasePatienceMs: 300 });
    await server.stop();

    const askedAt = performance.now();
    await expect(
      app.workflows.start(Orders, { workflowId: 'patient' }).run(2),
    ).rejects.toMatchObject({ code: 'DBOS_DATABASE_UNAVAILABLE' });
    const waitedMs = performance.now() - askedAt;
    await start();

    expect(waitedMs).toBeGreaterThanOrEqual(299);
    expect(waitedMs).toBeLessThan(8_000); // and not for as long as statements of workflows do
    await eventually(async () =>
      expect(await app.workflows.execute(Orders, { workflowId: 'patient' }).run(2)).toBe(1),
    );
    expect(app.get(Orders).bodies).toEqual(['patient/0', 'patient/1']);
  });

  it('status(), steps() and cancel() give up as well', async () => {
    const app = await startApp({ databasePatienceMs: 200 });
    await server.stop();

    const unavailable = { code: 'DBOS_DATABASE_UNAVAILABLE' };
    await expect(app.workflows.handle('any').status()).rejects.toMatchObject(unavailable);
    await expect(app.workflows.steps('any')).rejects.toMatchObject(unavailable);
    await expect(app.workflows.cancel('any')).rejects.toMatchObject(unavailable);
  });

  it('an application waits with its start, and is up once the database is', async () => {
    await server.stop();
    const app = await createTestApp(settings());
    apps.push(app);
    const starting = app.app.init();
    await eventually(() => expect(app.faults.statements.length).toBeGreaterThan(2));

    await start();

    await starting;
    expect(await app.workflows.execute(Orders).run(3)).toBe(3);
  });

  it('an application can be closed, without waiting for the database', async () => {
    const app = await startApp({ shutdown: { graceMs: 50 } });
    const running = orderMany(app);
    running.catch(() => undefined);
    await server.stop();

    const askedAt = performance.now();
    await app.close();

    expect(performance.now() - askedAt).toBeLessThan(20_000); // five seconds are for the hand-over
  });
});
