// Least privilege: one role migrates and owns the tables, another runs everything and can do nothing else.
import { Injectable } from '@nestjs/common';
import {
  DbosModule,
  getQueueToken,
  Queue,
  ScheduleService,
  Transaction,
  Workflow,
  WorkflowContext,
} from 'nestjs-dbos';
import pg from 'pg';
import { runCommandLine } from '../../libs/dbos/src/cli/command-line.js';
import type { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { withAdmin } from '../support/admin-connection.js';
import type { TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { eventually } from '../support/eventually.js';
import { startNestApp, type NestApp } from '../support/nest-app.js';
import { currentTestRun } from '../support/test-run.js';

/** PostgreSQL: insufficient_privilege. */
const NOT_ALLOWED = '42501';

@Injectable()
class Errands {
  constructor(private readonly flow: WorkflowContext) {}

  @Workflow()
  async everything(): Promise<unknown[]> {
    const { flow } = this;
    const token = await flow.createToken<string>({ timeout: '1h' });
    await flow.writeStream('stream', token.token);
    await flow.setEvent('event', 'set');
    await flow.sleep(1);
    const written = await this.write();
    return [written, await flow.recv('topic'), await token.wait()];
  }

  @Transaction()
  async write(): Promise<string> {
    const [row] = await this.flow.prisma<PrismaClient>().$queryRaw<[{ role: string }]>`
      SELECT current_user AS role`;
    return row.role;
  }

  @Workflow()
  async brief(): Promise<string> {
    return this.flow.step('brief', () => 'done');
  }

  @Workflow()
  async endless(): Promise<void> {
    await this.flow.recv('never');
  }
}

let database: TestDatabase;
let migrator: Role;
let runtime: Role;
let app: NestApp;
let queue: Queue;

interface Role {
  readonly name: string;
  readonly url: string;
}

beforeAll(async () => {
  database = await createEmptyDatabase();
  migrator = await createRole('migrator');
  runtime = await createRole('runtime');
  await as(database.url, [
    `CREATE SCHEMA dbos AUTHORIZATION ${migrator.name}`,
    'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    'CREATE SCHEMA payroll',
    'CREATE TABLE payroll.salaries (id int)',
    // Nothing but pg_catalog: what is not named by its schema is not found.
    `ALTER ROLE ${runtime.name} SET search_path = ''`,
  ]);
  await nestjsDbos('migrate', '--database-url', migrator.url);
  await as(migrator.url, [await nestjsDbos('grants', '--role', runtime.name)]);
  app = await startNestApp({
    url: runtime.url,
    providers: [Errands],
    after: [
      DbosModule.registerQueue({
        name: 'errands',
        concurrency: 5,
        rateLimit: { limit: 99, periodMs: 1_000 },
      }),
    ],
    options: { sessionUrl: runtime.url, retention: { maxAge: '30d' } },
  });
  queue = app.app.get<Queue>(getQueueToken('errands'), { strict: false });
});

afterAll(async () => {
  await app.close();
  await database.drop();
  await withAdmin(currentTestRun().adminUrl, (client) =>
    client.query(`DROP ROLE IF EXISTS ${migrator.name}, ${runtime.name}`),
  );
});

/** Roles belong to the server: their names are of this database. */
async function createRole(kind: string): Promise<Role> {
  const name = `${database.name}_${kind}`;
  await as(database.url, [`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`]);
  const url = new URL(database.url);
  url.username = name;
  url.password = 'secret';
  return { name, url: url.href };
}

async function as(url: string, statements: readonly string[]): Promise<pg.QueryResult[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const results: pg.QueryResult[] = [];
    for (const statement of statements) results.push(await client.query(statement));
    return results;
  } finally {
    await client.end();
  }
}

async function nestjsDbos(...args: string[]): Promise<string> {
  let output = '';
  const complaints: string[] = [];
  await runCommandLine(args, {
    environment: {},
    write: (text) => (output += text),
    complain: (text) => complaints.push(text),
  });
  expect(complaints).toEqual([]);
  return output;
}

describe('As the runtime role', () => {
  it('workflows run, with messages, events, streams, tokens, transactions', async () => {
    const { workflows } = app;
    const handle = await workflows.start(Errands, { workflowId: 'all' }).everything();
    await workflows.send('all', 'message', { topic: 'topic' });
    expect(await workflows.getEvent('all', 'event')).toBe('set');
    for await (const token of workflows.readStream<string>('all', 'stream')) {
      expect(await workflows.resolveToken(token, 'yes')).toBe(true);
      break;
    }
    expect(await handle.result()).toEqual([runtime.name, 'message', 'yes']);
  });

  it('queues take, pause, and let go', async () => {
    await queue.pause();
    const handle = await queue.enqueue(Errands, { deduplicationId: 'one', priority: 3 }).brief();
    await queue.resume();
    expect(await handle.result()).toBe('done');
    expect(await queue.report()).toMatchObject({ enqueued: 0 });
  });

  it('schedules are made, fired and deleted', async () => {
    const schedules = app.app.get(ScheduleService);
    await schedules.create({ name: 'soon', workflow: 'Errands.brief', cron: '* * * * * *' });
    await eventually(async () => {
      expect((await app.workflows.list({ schedule: 'soon' })).workflows.length).toBeGreaterThan(0);
    });
    expect(await (await schedules.trigger('soon')).result()).toBe('done');
    expect(await schedules.delete('soon')).toBe(true);
  });

  it('operators cancel, resume, fork, delete, and see why', async () => {
    const { workflows } = app;
    await workflows.start(Errands, { workflowId: 'stuck' }).endless();
    expect(await workflows.explain('stuck')).toMatchObject({ workflowId: 'stuck' });
    expect(await workflows.cancel('stuck')).toEqual(['stuck']);
    expect(await workflows.resume('stuck')).toEqual(['stuck']);
    const fork = await workflows.fork('stuck', { from: 0, workflowId: 'fork' });
    expect(await workflows.cancel(['stuck', fork.workflowId])).toHaveLength(2);
    expect(await workflows.delete('fork')).toEqual(['fork']);
    expect(await workflows.actions('stuck')).not.toEqual([]);
  });

  it('workflows are exported, imported, counted, and removed when they are old', async () => {
    const { workflows } = app;
    await (await workflows.start(Errands, { workflowId: 'old' }).brief()).result();
    const archive = await workflows.export('old');
    await workflows.delete('old');
    expect(await workflows.import(archive)).toMatchObject({ imported: ['old'] });
    expect((await workflows.count()).total).toBeGreaterThan(0);
    expect(await workflows.applyRetention()).toBeDefined();
  });

  it('dead processes are buried and their workflows taken up', async () => {
    await as(migrator.url, [
      `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, serialization, input)
       VALUES ('orphan', 'Errands.brief', 'PENDING', 'gone', 1, 'json', '[]')`,
    ]);
    expect(await app.workflows.handle('orphan').result({ timeout: '30s' })).toBe('done');
  });

  it.each([
    'DROP TABLE dbos.workflows',
    'TRUNCATE dbos.workflows',
    'ALTER TABLE dbos.workflows ADD COLUMN mine text',
    'CREATE TABLE dbos.mine (id int)',
    'CREATE TABLE public.mine (id int)',
    'CREATE SCHEMA mine',
    'CREATE INDEX mine ON dbos.workflows (name)',
    'CREATE FUNCTION dbos.mine() RETURNS int LANGUAGE sql RETURN 1',
    'DROP FUNCTION dbos.oldest_kept(text, integer)',
    "UPDATE dbos._prisma_migrations SET checksum = ''",
    'SELECT * FROM payroll.salaries',
    "COPY dbos.workflows TO '/tmp/workflows'",
    'CREATE ROLE mine SUPERUSER',
    'SET ROLE pg_read_all_data',
    'ALTER SYSTEM SET fsync = off',
  ])('nobody can: %s', async (statement) => {
    await expect(as(runtime.url, [statement])).rejects.toMatchObject({ code: NOT_ALLOWED });
  });

  it('a client is nobody of rank', async () => {
    const [result] = await as(runtime.url, [
      `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
         FROM pg_catalog.pg_roles WHERE rolname = current_user`,
    ]);
    expect(Object.values(result?.rows[0] ?? { none: true })).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  it('tables of later migrations are at hand', async () => {
    await as(migrator.url, [
      'CREATE TABLE dbos.later (id int GENERATED BY DEFAULT AS IDENTITY, name text)',
    ]);
    await expect(
      as(runtime.url, ["INSERT INTO dbos.later (name) VALUES ('x')"]),
    ).resolves.toHaveLength(1);
    await as(migrator.url, ['DROP TABLE dbos.later']);
  });
});

describe('The functions of the library', () => {
  it('run with the rights of who calls them, and build no statement as text', async () => {
    const [result] = await as(migrator.url, [
      `SELECT p.proname, p.prosecdef, p.prosrc ~* '\\mEXECUTE\\M' AS builds
         FROM pg_proc p WHERE p.pronamespace = 'dbos'::regnamespace`,
    ]);
    expect(result?.rows.length).toBeGreaterThan(30);
    expect(result?.rows.filter(({ prosecdef, builds }) => prosecdef || builds)).toEqual([]);
  });
});

describe('npx nestjs-dbos grants', () => {
  it('asks for a role', async () => {
    const complaints: string[] = [];
    const complain = (text: string) => complaints.push(text);
    const exitCode = await runCommandLine(['grants'], {
      environment: {},
      write: () => 0,
      complain,
    });
    expect({ exitCode, complaints }).toEqual({
      exitCode: 2,
      complaints: [expect.stringContaining('--role')],
    });
  });

  it('takes a name for a name', async () => {
    const sql = await nestjsDbos('grants', '--role', 'a"; DROP SCHEMA dbos; --');
    expect(sql).toContain('TO "a""; DROP SCHEMA dbos; --";');
  });
});
