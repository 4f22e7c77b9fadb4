// What goes wrong beneath the client: names that a pooler does not keep, connections that end, a server that restarts.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';
import { EmbeddedPostgres } from '../../libs/embedded-postgres/src/index.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import {
  NamedConnections,
  startDirectEngine,
  statementNames,
  type DirectEngine,
} from '../support/direct-engine.js';
import { eventually } from '../support/eventually.js';
import { openPrisma } from '../support/nest-app.js';
import { PgBouncer } from '../support/pgbouncer.js';

const STEPS = 10;
const SUM = 45;
/** Workflows at once, more than the pool has connections. */
const MANY = Array.from({ length: 20 }, () => STEPS);

let database: TestDatabase;
const ends: Array<() => Promise<unknown>> = [];

beforeAll(async () => {
  database = await createTestDatabase();
});

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

afterAll(async () => {
  await database.drop();
});

async function startOver(client: PrismaClient): Promise<DirectEngine> {
  ends.push(() => client.$disconnect());
  const direct = await startDirectEngine(client);
  ends.push(() => direct.engine.shutdown());
  return direct;
}

interface Tally {
  readonly results: readonly unknown[];
  /** Bodies that ran, and how many of them were different ones. */
  readonly bodies: number;
  readonly different: number;
  /** Steps that are recorded, for each workflow. */
  readonly recorded: readonly number[];
  readonly warnings: readonly string[];
}

/** Nothing lost, nothing doubled. */
const ALL_ONCE: Tally = {
  results: MANY.map(() => SUM),
  bodies: MANY.length * STEPS,
  different: MANY.length * STEPS,
  recorded: MANY,
  warnings: [],
};

/** Statements that fail with their connection are sent again, which is worth a word. */
const ALL_ONCE_WITH_WARNINGS = { ...ALL_ONCE, warnings: expect.any(Array) };

async function runMany({ sum, bodies, engine, warnings }: DirectEngine): Promise<Tally> {
  bodies.splice(0);
  const results = await Promise.all(MANY.map((steps) => sum(steps)));
  const different = new Set(bodies);
  const ids = new Set(bodies.map((body) => body.slice(0, body.indexOf('/'))));
  const recorded = await Promise.all([...ids].map(async (id) => (await engine.steps(id)).length));
  return { results, bodies: bodies.length, different: different.size, recorded, warnings };
}

describe('A statement that is prepared under a name', () => {
  it('is prepared, so that its name stands in the session', async () => {
    const client = openPrisma(database.url, 1);
    const { sum } = await startOver(client);
    await sum(2);
    expect(await namesIn(client)).not.toEqual([]);
  });

  it('goes on without one when the session has forgotten it, from then on', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    ends.push(() => pool.end());
    const names = statementNames(pool);
    const direct = await startOver(new PrismaClient({ adapter: new PrismaPg(pool) }));
    await direct.sum(2);
    expect(names.join('')).toContain('dbos_');

    await pool.query('DEALLOCATE ALL');
    expect(await runMany(direct)).toEqual(ALL_ONCE);
    names.splice(0);
    await direct.sum(2);
    expect(names.join('')).toBe('');
  });

  it('goes on without one when the session knows another statement by it', async () => {
    const client = openPrisma(database.url, 1);
    const { sum } = await startOver(client);
    await sum(2);
    const names = await namesIn(client);

    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    ends.push(() => pool.end());
    for (const name of names) await pool.query(`PREPARE "${name}" AS SELECT 1`);
    const direct = await startOver(new PrismaClient({ adapter: new PrismaPg(pool) }));
    expect(await runMany(direct)).toEqual(ALL_ONCE);
  });

  async function namesIn(client: PrismaClient): Promise<string[]> {
    const rows = await client.$queryRaw<Array<{ name: string }>>`
      SELECT name FROM pg_prepared_statements WHERE starts_with(name, 'dbos_')`;
    return rows.map(({ name }) => name);
  }
});

const hasPooler = PgBouncer.isInstalled();
const reason = hasPooler ? '' : ' (skipped: there is no pgbouncer on this machine)';

(hasPooler ? describe : describe.skip)(`A pooler in transaction mode${reason}`, () => {
  it.each([1, 3])('over %d connections loses and doubles nothing', async (poolSize) => {
    const bouncer = await PgBouncer.start(database.url, poolSize);
    ends.push(() => bouncer.stop());
    const direct = await startOver(openPrisma(bouncer.url, 5));
    expect(await runMany(direct)).toEqual(ALL_ONCE);
  });
});

describe('Connections that the server ends', () => {
  let connections: NamedConnections;
  let tests = 0;

  beforeEach(async () => {
    connections = await NamedConnections.open(database.url, `faults-${(tests += 1)}`);
    ends.push(() => connections.close());
  });

  it.each([
    ['of the client', () => connections.client(3)],
    [
      'of a pool that the application made',
      () => {
        const pool = new pg.Pool({ connectionString: connections.url, max: 3 });
        ends.push(() => pool.end());
        return new PrismaClient({ adapter: new PrismaPg(pool) });
      },
    ],
  ])('while they are idle are replaced, in the pool %s', async (_whose, clientOf) => {
    const direct = await startOver(clientOf());
    expect(await runMany(direct)).toEqual(ALL_ONCE_WITH_WARNINGS);
    await eventually(async () => expect(await connections.terminate()).toBeGreaterThan(0));
    expect(await runMany(direct)).toEqual(ALL_ONCE_WITH_WARNINGS);
  });

  it('while they are busy cost no step and no body', async () => {
    const direct = await startOver(connections.client(3));
    let ended = 0;
    const terminating = (async () => {
      for (let round = 0; round < 5; round += 1) {
        await eventually(() => expect(direct.bodies.length).toBeGreaterThan(round * 20));
        ended += await connections.terminate();
      }
    })();
    expect(await runMany(direct)).toEqual(ALL_ONCE_WITH_WARNINGS);
    await terminating;
    expect(ended).toBeGreaterThan(0);
  });
});

describe('A server that goes away', () => {
  it('is waited for beneath the client as through it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nestjs-dbos-shared-driver-'));
    ends.push(() => rm(directory, { recursive: true, force: true }));
    const start = () => EmbeddedPostgres.start({ directory, settings: { fsync: 'off' } });
    let server = await start();
    ends.push(() => server.stop());
    await server.createDatabase('shop');
    const url = server.url('shop');
    await migrateDatabase(url);
    const direct = await startOver(openPrisma(url, 3));

    const restart = (async () => {
      await eventually(() => expect(direct.bodies.length).toBeGreaterThan(20));
      await server.stop();
      server = await start();
    })();
    expect(await runMany(direct)).toEqual(ALL_ONCE_WITH_WARNINGS);
    await restart;
  });
});

describe('A connection that breaks as the pool hands it over', () => {
  it('does not end the process, though nobody listens for its errors yet', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 5 });
    ends.push(() => pool.end());
    await startOver(new PrismaClient({ adapter: new PrismaPg(pool) }));

    const connections = await Promise.all([pool.connect(), pool.connect()]);

    const listeners = connections.map((connection) => connection.listenerCount('error'));
    for (const connection of connections) connection.release();
    expect(Math.min(...listeners)).toBeGreaterThan(0);
  });
});
