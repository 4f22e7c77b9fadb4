// The pool beneath the application's Prisma client: one for client and engine, for as long as either needs it.
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaCheckpointRepository } from '../../libs/dbos/src/prisma/prisma-checkpoint-repository.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import {
  NamedConnections,
  saturate,
  startDirectEngine,
  statementNames,
  type DirectEngine,
} from '../support/direct-engine.js';
import { eventually } from '../support/eventually.js';
import { openPrisma } from '../support/nest-app.js';

const MAX = 2;
/** More at once than the pool has connections. */
const MANY = Array.from({ length: 8 }, (_, index) => index);

let database: TestDatabase;
let connections: NamedConnections;
const clients: PrismaClient[] = [];
const engines: DirectEngine[] = [];
let tests = 0;

beforeAll(async () => {
  database = await createTestDatabase();
});

beforeEach(async () => {
  connections = await NamedConnections.open(database.url, `shared-driver-${(tests += 1)}`);
});

afterEach(async () => {
  for (const { engine } of engines.splice(0)) await engine.shutdown();
  for (const client of clients.splice(0)) await client.$disconnect();
  await connections.close();
});

afterAll(async () => {
  await database.drop();
});

function openClient(max = MAX): PrismaClient {
  const client = connections.client(max);
  clients.push(client);
  return client;
}

async function startEngine(
  ...settings: Parameters<typeof startDirectEngine>
): Promise<DirectEngine> {
  const started = await startDirectEngine(...settings);
  engines.push(started);
  return started;
}

/** Opens as many connections as either may have. */
async function useBoth(client: PrismaClient, { sum }: DirectEngine): Promise<void> {
  await Promise.all([saturate(client, MANY.length), ...MANY.map((steps) => sum(steps))]);
}

describe('Client and engine', () => {
  it('use one pool when the client queries first', async () => {
    const client = openClient();
    const started = startEngine(client);
    await client.$queryRaw`SELECT 1 AS one`;
    const engine = await started;
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('use one pool when the engine queries first', async () => {
    const client = openClient();
    const engine = await startEngine(client);
    await engine.sum(2);
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('use one pool when the client connects after the engine has found it', async () => {
    const client = openClient();
    const engine = await startEngine(client);
    await client.$connect();
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('use one pool when the application made it, even if the client had connected before', async () => {
    const pool = new pg.Pool({ connectionString: connections.url, max: MAX });
    const client = new PrismaClient({ adapter: new PrismaPg(pool) });
    await client.$connect();
    const names = statementNames(pool);
    const engine = await startEngine(client);
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
    expect(names.join('')).toContain('dbos_');

    await engine.engine.shutdown();
    await client.$disconnect();
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  it('part when the client takes the pool that the application made with it', async () => {
    const pool = new pg.Pool({ connectionString: connections.url, max: MAX });
    const client = new PrismaClient({
      adapter: new PrismaPg(pool, { disposeExternalPool: true }),
    });
    clients.push(client);
    await client.$connect();
    const engine = await startEngine(client);
    await client.$disconnect();
    expect(await engine.sum(3)).toBe(3);
  });

  it('use the client alone when it had connected to a pool of its own before', async () => {
    const client = openClient();
    await client.$connect();
    const engine = await startEngine(client);
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('use the client alone when its first query was under way', async () => {
    const client = openClient();
    const query = client.$queryRaw`SELECT 1 AS one`.then(() => undefined);
    const engine = await startEngine(client);
    await query;
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('are two engines over one client with one pool', async () => {
    const client = openClient();
    const [one, other] = await Promise.all([startEngine(client), startEngine(client)]);
    const useAll = () => Promise.all([useBoth(client, one), useBoth(client, other)]);
    expect(await connections.countOf(MAX, useAll)).toBe(MAX);

    await one.engine.shutdown();
    expect(await other.sum(3)).toBe(3);
  });

  it('leave a second client of the same adapter a pool of its own', async () => {
    const adapter = new PrismaPg({ connectionString: connections.url, max: MAX });
    const [first, second] = [new PrismaClient({ adapter }), new PrismaClient({ adapter })];
    clients.push(first, second);
    const engine = await startEngine(first);
    const useAll = () => Promise.all([useBoth(first, engine), saturate(second, MANY.length)]);
    expect(await connections.countOf(2 * MAX, useAll)).toBe(2 * MAX);

    await first.$disconnect();
    expect(await second.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }]);
    expect(await engine.sum(3)).toBe(3);
  });

  it('make progress on a pool of one connection', async () => {
    const client = openClient(1);
    const engine = await startEngine(client);
    await useBoth(client, engine);
    expect(await connections.count()).toBe(1);
  });
});

describe('The shared pool', () => {
  it('outlives the $disconnect() of the client while the engine runs', async () => {
    const client = openClient();
    const engine = await startEngine(client);
    await connections.countOf(MAX, () => useBoth(client, engine));
    const sums = MANY.map((steps) => engine.sum(steps));
    await client.$disconnect();
    expect(await Promise.all(sums)).toEqual([0, 0, 1, 3, 6, 10, 15, 21]);
    expect(await connections.count()).toBe(MAX);
  });

  it('serves a client again that queries after its $disconnect()', async () => {
    const client = openClient();
    const engine = await startEngine(client);
    await client.$connect();
    await client.$disconnect();
    expect(await connections.countOf(MAX, () => useBoth(client, engine))).toBe(MAX);
  });

  it('outlives the engine while the client is connected', async () => {
    const client = openClient();
    const { engine } = await startEngine(client);
    await client.$connect();
    await engine.shutdown();
    expect(await client.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }]);
  });

  it.each(['client', 'engine'])('is closed when both let go of it, the %s first', async (first) => {
    const client = openClient();
    const { engine, sum } = await startEngine(client);
    await Promise.all([saturate(client, MAX), sum(1)]);
    const ends = [() => client.$disconnect(), () => engine.shutdown()];
    for (const end of first === 'client' ? ends : ends.toReversed()) await end();
    await eventually(async () => expect(await connections.count()).toBe(0));
  });

  it('is closed once when both let go of it at the same time', async () => {
    const client = openClient();
    const { engine } = await startEngine(client);
    await client.$connect();
    await Promise.all([client.$disconnect(), engine.shutdown()]);
    await eventually(async () => expect(await connections.count()).toBe(0));
  });

  it('is let go of once by an engine that is closed twice', async () => {
    const client = openClient();
    const { engine, repository } = await startEngine(client);
    await client.$connect();
    await engine.shutdown();
    await repository.close();
    expect(await client.$queryRaw`SELECT 1 AS one`).toEqual([{ one: 1 }]);
  });

  it('is closed with the engine when the client never connected', async () => {
    const { engine, sum } = await startEngine(openClient());
    await sum(1);
    await engine.shutdown();
    await eventually(async () => expect(await connections.count()).toBe(0));
  });

  it('is closed when the engine could not be launched', async () => {
    const repository = new PrismaCheckpointRepository(() => openClient(), { migrate: false });
    const observer = openPrisma(database.url);
    await observer.$executeRaw`ALTER TABLE dbos._prisma_migrations RENAME TO elsewhere`;
    try {
      await expect(repository.prepare()).rejects.toMatchObject({ code: 'DBOS_SCHEMA_BEHIND' });
    } finally {
      await observer.$executeRaw`ALTER TABLE dbos.elsewhere RENAME TO _prisma_migrations`;
      await observer.$disconnect();
    }
    await repository.close();
    await eventually(async () => expect(await connections.count()).toBe(0));
  });

  it('can be used again by an engine after all have let go of it', async () => {
    const client = openClient();
    const first = await startEngine(client);
    await first.engine.shutdown();
    await client.$disconnect();
    const second = await startEngine(client);
    expect(await connections.countOf(MAX, () => useBoth(client, second))).toBe(MAX);
  });
});

describe('Statements of the engine', () => {
  it('go past the client', async () => {
    const { client, seen } = loggingClient();
    const { sum } = await startEngine(client);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).not.toContain('dbos.');
  });

  it('go through the client with directStatements: false', async () => {
    const { client, seen } = loggingClient();
    const { sum } = await startEngine(client, { directStatements: false });
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.start_workflows');
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('go through the $queryRaw of an extended client', async () => {
    const seen: string[] = [];
    const client = openClient().$extends({
      query: {
        $queryRaw: ({ args, query }) => {
          seen.push(args.sql);
          return query(args);
        },
      },
    });
    const { sum } = await startEngine(client);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('go through the $queryRaw of a double', async () => {
    const seen: string[] = [];
    const double = new Proxy(openClient(), {
      get: (client, property) => {
        const value: unknown = Reflect.get(client, property, client);
        if (property !== '$queryRaw') return value;
        return (sql: TemplateStringsArray, ...values: unknown[]) => {
          seen.push(sql.join('?'));
          return client.$queryRaw(sql, ...values);
        };
      },
    });
    const { sum } = await startEngine(double);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('go through the $queryRaw that a service puts in its place', async () => {
    const seen: string[] = [];
    class PrismaService extends PrismaClient {
      override $queryRaw: PrismaClient['$queryRaw'] = (sql, ...values) => {
        seen.push('strings' in sql ? sql.strings.join('?') : sql.join('?'));
        return super.$queryRaw(sql, ...values);
      };
    }
    const client = new PrismaService({ adapter: new PrismaPg(connections.url) });
    clients.push(client);
    const { sum } = await startEngine(client);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('go through the $queryRaw that a subclass declares', async () => {
    const seen: string[] = [];
    // Not `override`: the types of Prisma call it a property, its class a method.
    class PrismaService extends PrismaClient {}
    const original = PrismaClient.prototype.$queryRaw;
    Object.defineProperty(PrismaService.prototype, '$queryRaw', {
      value(this: PrismaClient, sql: TemplateStringsArray, ...values: unknown[]) {
        seen.push(sql.join('?'));
        return original.call(this, sql, ...values);
      },
    });
    const client = new PrismaService({ adapter: new PrismaPg(connections.url) });
    clients.push(client);
    const { sum } = await startEngine(client);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('go through the client when its adapter is another', async () => {
    const { client, seen } = loggingClient((adapter) =>
      Object.assign(Object.create(adapter) as PrismaPg, { adapterName: 'an adapter of theirs' }),
    );
    const { sum } = await startEngine(client);
    expect(await sum(3)).toBe(3);
    expect(seen.join()).toContain('dbos.write_transitions');
  });

  it('read dates, numbers and arrays whatever parsers the application gave to pg', async () => {
    const shout = (text: string): string => `${text}!`;
    const oids = [16, 20, 23, 701, 1009, 1184, 3802];
    const pool = new pg.Pool({
      connectionString: connections.url,
      types: { getTypeParser: () => shout },
    });
    const former = oids.map((oid) => [oid, pg.types.getTypeParser(oid)] as const);
    oids.forEach((oid) => pg.types.setTypeParser(oid, shout));
    try {
      const client = new PrismaClient({ adapter: new PrismaPg(pool) });
      clients.push(client);
      const { sum, engine } = await startEngine(client);
      expect(await sum(3)).toBe(3);
      expect(await engine.recovery()).toMatchObject({ pending: 0, enqueued: 0 });
    } finally {
      former.forEach(([oid, parser]) => pg.types.setTypeParser(oid, parser));
    }
    for (const { engine } of engines.splice(0)) await engine.shutdown();
    await pool.end();
  });

  /** A client that tells what it sends. */
  function loggingClient(adapterOf = (adapter: PrismaPg) => adapter): {
    client: PrismaClientLike;
    seen: string[];
  } {
    const adapter = adapterOf(new PrismaPg({ connectionString: connections.url, max: MAX }));
    const client = new PrismaClient({ adapter, log: [{ level: 'query', emit: 'event' }] });
    clients.push(client);
    const seen: string[] = [];
    client.$on('query', ({ query }) => seen.push(query));
    return { client, seen };
  }
});
