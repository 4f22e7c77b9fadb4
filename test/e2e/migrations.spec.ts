// The library's tables: made once, by whoever comes first, in books that Prisma Migrate reads as its own.
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';
import { checksumOf, shippedMigrations } from '../../libs/dbos/src/prisma/migration-files.js';
import { pgMigrationTarget } from '../../libs/dbos/src/prisma/migration-target.js';
import {
  assertMigrated,
  migrate,
  migrationSql,
  migrationStatus,
  Migrator,
  prismaMigrationTarget,
} from '../../libs/dbos/src/prisma/migrator.js';
import type { PrismaClientLike } from '../../libs/dbos/src/prisma/prisma-client.js';
import { PrismaClient } from '../../sample-app/src/generated/prisma/client.js';
import type { TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';
import { createTestApp, startTestApp } from '../support/test-app.js';

const names = (await shippedMigrations()).map(({ name }) => name);
const [first] = names;

/** Prisma Migrate's advisory lock. */
const LOCK = 'pg_advisory_lock(72707369)';

let database: TestDatabase;
let client: pg.Client;

beforeEach(async () => {
  database = await createEmptyDatabase();
  client = await connect();
});

afterEach(async () => {
  await client.end();
  await database.drop();
});

async function connect(): Promise<pg.Client> {
  const connection = new pg.Client({ connectionString: database.url });
  connection.on('error', () => undefined);
  await connection.connect();
  return connection;
}

async function rows<T>(sql: string): Promise<T[]> {
  return (await client.query(sql)).rows as T[];
}

/** Each entry of the library's books, as Prisma Migrate judges it. */
function books(): Promise<Array<{ name: string; state: string }>> {
  return rows(`
    SELECT migration_name AS name,
           CASE WHEN rolled_back_at IS NOT NULL THEN 'rolled back'
                WHEN finished_at IS NOT NULL THEN 'applied'
                ELSE 'failed' END AS state
      FROM dbos._prisma_migrations
     ORDER BY started_at`);
}

function applied(...migrations: string[]): Array<{ name: string; state: string }> {
  return migrations.map((name) => ({ name, state: 'applied' }));
}

/** Everything that somebody has put into the database, by schema and name. */
async function objects(): Promise<string[]> {
  const found = await rows<{ name: string }>(`
    SELECT nspname || '.' || relname AS name
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    UNION ALL
    SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'
     ORDER BY 1`);
  return found.map(({ name }) => name);
}

describe('B65: migrating', () => {
  it('B65: creates the tables of an empty database and says so', async () => {
    expect(await migrateDatabase(database.url)).toEqual({ applied: names });

    expect(await objects()).toEqual(
      expect.arrayContaining(['dbos.workflows', 'dbos.steps', 'dbos.executors', 'dbos.schedules']),
    );
    expect(await books()).toEqual(applied(...names));
  });

  it('B65: again is a no-op that costs one statement', async () => {
    await migrateDatabase(database.url);
    const prisma = new PrismaClient({
      adapter: new PrismaPg(database.url),
      log: [{ emit: 'event', level: 'query' }],
    });
    const statements: string[] = [];
    prisma.$on('query', ({ query }) => statements.push(query));

    expect(await migrate(prismaMigrationTarget(prisma))).toEqual({ applied: [] });

    await prisma.$disconnect();
    expect(statements).toEqual([expect.stringMatching(/^SELECT /)]);
  });

  it('B65: happens when an application starts', async () => {
    const { close } = await startTestApp({ url: database.url, options: { migrate: true } });

    await close();
    expect(await books()).toEqual(applied(...names));
  });

  it('B65: again waits for nobody', async () => {
    await migrateDatabase(database.url);
    const before = await rows('SELECT * FROM dbos._prisma_migrations');
    await client.query(`SELECT ${LOCK}`);

    expect(await migrateDatabase(database.url)).toEqual({ applied: [] });

    expect(await rows('SELECT * FROM dbos._prisma_migrations')).toEqual(before);
  });

  it.each([
    [2, 'read committed'],
    [10, 'read committed'],
    [10, 'repeatable read'],
    [10, 'serializable'],
  ])('B65: by %i processes at once happens once (%s)', async (count, isolation) => {
    await client.query(
      `ALTER DATABASE ${pg.escapeIdentifier(database.name)} SET default_transaction_isolation = '${isolation}'`,
    );

    const reports = await Promise.all(
      Array.from({ length: count }, () => migrateDatabase(database.url)),
    );

    expect(reports.flatMap((report) => report.applied).sort()).toEqual(names);
    expect(await books()).toEqual(applied(...names));
  });

  it('B65: works over a Prisma client, an extended one too, with a pool of one and prepared statements', async () => {
    let prepared = 0;
    const adapter = new PrismaPg(
      { connectionString: database.url, max: 1 },
      { statementNameGenerator: () => `s${(prepared += 1)}` },
    );
    const prisma = new PrismaClient({ adapter });
    const extended = prisma.$extends({
      query: { product: { findMany: ({ query, args }) => query(args) } },
    });
    // Assignable by shape: this is what the library asks of the application's client.
    const clients: PrismaClientLike[] = [extended, prisma];

    const reports = [];
    for (const candidate of clients) reports.push(await migrate(prismaMigrationTarget(candidate)));

    await prisma.$disconnect();
    expect(reports).toEqual([{ applied: names }, { applied: [] }]);
  });

  it("B65: puts what has no schema in the library's, as migrations made by prisma migrate dev want it", async () => {
    const note = { name: '20300101000000_note', sql: 'CREATE TABLE "note" ("id" INTEGER);' };

    await new Migrator(pgMigrationTarget(client), [note]).migrate();

    expect(await objects()).toContain('dbos.note');
    expect(await rows('SHOW search_path')).toEqual([{ search_path: '"$user", public' }]);
  });

  it("B65: leaves the application's own schema and history alone", async () => {
    await client.query(`
      CREATE TABLE public._prisma_migrations (migration_name text);
      INSERT INTO public._prisma_migrations VALUES ('20200101000000_shop');
      CREATE TABLE public.workflows (id int)`);

    await migrateDatabase(database.url);

    expect((await objects()).filter((name) => name.startsWith('public.'))).toEqual([
      'public._prisma_migrations',
      'public.workflows',
    ]);
    expect(await rows('SELECT * FROM public._prisma_migrations')).toEqual([
      { migration_name: '20200101000000_shop' },
    ]);
  });

  it('B65: by hand, with the SQL that the library prints, counts as migrated', async () => {
    await client.query(await migrationSql());

    expect(await migrationStatus(pgMigrationTarget(client))).toEqual({ state: 'current' });
    expect(await migrateDatabase(database.url)).toEqual({ applied: [] });
  });
});

describe('B65: a migration that fails', () => {
  const orders = { name: '20300101000000_orders', sql: 'CREATE TABLE dbos.orders (id int);' };
  const stock = {
    name: '20300102000000_stock',
    sql: 'CREATE TABLE dbos.stock (id int); CREATE INDEX ON dbos.stock (id); CREATE TABLE dbos.taken ();',
  };

  function migrator(): Migrator {
    return new Migrator(pgMigrationTarget(client), [orders, stock]);
  }

  it('B65: keeps what came before it, leaves nothing of itself, and resumes', async () => {
    await client.query('CREATE SCHEMA dbos; CREATE TABLE dbos.taken ()');

    await expect(migrator().migrate()).rejects.toMatchObject({
      code: 'DBOS_MIGRATION_FAILED',
      migration: stock.name,
      message: expect.stringContaining('relation "taken" already exists (42P07)'),
    });
    expect(await books()).toEqual(applied(orders.name));
    expect(await objects()).not.toContain('dbos.stock');

    await client.query('DROP TABLE dbos.taken');
    expect(await migrator().migrate()).toEqual({ applied: [stock.name] });
    expect(await books()).toEqual(applied(orders.name, stock.name));
  });

  it('B65: under prisma migrate deploy is rolled back in the books and applied again', async () => {
    await migrateDatabase(database.url);
    // Everything but the books, as after a migration that was rolled back.
    await client.query(`
      DO $$
      DECLARE made text;
      BEGIN
        FOREACH made IN ARRAY ARRAY(SELECT oid::regprocedure::text FROM pg_proc
                                     WHERE pronamespace = 'dbos'::regnamespace) LOOP
          EXECUTE 'DROP FUNCTION IF EXISTS ' || made || ' CASCADE';
        END LOOP;
        FOREACH made IN ARRAY ARRAY(SELECT quote_ident(tablename) FROM pg_tables
                                     WHERE schemaname = 'dbos' AND tablename <> '_prisma_migrations') LOOP
          EXECUTE 'DROP TABLE dbos.' || made || ' CASCADE';
        END LOOP;
        FOREACH made IN ARRAY ARRAY(SELECT t.oid::regtype::text FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
                                     WHERE t.typnamespace = 'dbos'::regnamespace AND c.relkind = 'c') LOOP
          EXECUTE 'DROP TYPE ' || made;
        END LOOP;
      END $$;
      UPDATE dbos._prisma_migrations SET finished_at = NULL, applied_steps_count = 0, logs = 'division by zero'`);

    expect(await migrationStatus(pgMigrationTarget(client))).toEqual({
      state: 'behind',
      pending: names,
    });
    expect(await migrateDatabase(database.url)).toEqual({ applied: names });
    expect(await books()).toEqual([
      ...names.map((name) => ({ name, state: 'rolled back' })),
      ...applied(...names),
    ]);
  });

  it('B65: because another session keeps the lock names that session', async () => {
    await client.query(`SELECT ${LOCK}`);
    const [holder] = await rows<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const other = await connect();
    const impatient = new Migrator(pgMigrationTarget(other), [orders], { lockTimeoutMs: 20 });

    await expect(impatient.migrate()).rejects.toMatchObject({
      code: 'DBOS_MIGRATION_LOCKED',
      holderPid: holder?.pid,
    });

    await client.query('SELECT pg_advisory_unlock_all()');
    expect(await impatient.migrate()).toEqual({ applied: [orders.name] });
    await other.end();
  });
});

describe('B65: without migrating', () => {
  it('B65: an empty database is refused with the three ways out, and stays empty', async () => {
    const target = pgMigrationTarget(client);

    expect(await migrationStatus(target)).toEqual({ state: 'missing', pending: names });
    await expect(assertMigrated(target)).rejects.toMatchObject({
      name: 'SchemaBehindError',
      code: 'DBOS_SCHEMA_BEHIND',
      pending: names,
      message: expect.stringMatching(
        /migrate: true.*npx nestjs-dbos migrate.*npx nestjs-dbos sql.*prisma migrate deploy/s,
      ),
    });
    expect(await objects()).toEqual([]);
  });

  it('B65: an application does not start on an empty database', async () => {
    const { app, close } = await createTestApp({
      url: database.url,
      options: { migrate: false },
    });

    await expect(app.init()).rejects.toMatchObject({ code: 'DBOS_SCHEMA_BEHIND' });

    await close();
    expect(await objects()).toEqual([]);
  });

  it('B65: a database ahead of this build is accepted', async () => {
    await migrateDatabase(database.url);
    await client.query(`
      INSERT INTO dbos._prisma_migrations (id, checksum, migration_name, finished_at)
      VALUES ('1', 'x', '99990101000000_future', now())`);
    const target = pgMigrationTarget(client);

    expect(await migrationStatus(target)).toEqual({
      state: 'ahead',
      unknown: ['99990101000000_future'],
    });
    await assertMigrated(target);
    expect(await migrate(target)).toEqual({ applied: [] });
  });

  it('B65: a database that was migrated in another wording is refused and left as it is', async () => {
    await migrateDatabase(database.url);
    await client.query(`UPDATE dbos._prisma_migrations SET checksum = repeat('0', 64)`);
    const target = pgMigrationTarget(client);
    const edited = { code: 'DBOS_MIGRATION_EDITED', migration: first };

    await expect(assertMigrated(target)).rejects.toMatchObject(edited);
    await expect(migrate(target)).rejects.toMatchObject(edited);
    expect(await books()).toEqual(applied(...names));
  });

  it('B65: other line ends are no other wording', async () => {
    const unix = { name: 'a', sql: 'CREATE TABLE dbos.a ();\nCREATE TABLE dbos.b ();\n' };
    const windows = { name: 'a', sql: unix.sql.replaceAll('\n', '\r\n') };
    const target = pgMigrationTarget(client);
    await new Migrator(target, [windows]).migrate();

    expect(await new Migrator(target, [unix]).status()).toEqual({ state: 'current' });
  });
});

describe('B65: the books', () => {
  it('B65: are those of Prisma Migrate, column by column', async () => {
    await migrateDatabase(database.url);

    // Recorded from `prisma migrate deploy` of Prisma 7.10.
    expect(
      await rows(`
        SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required,
               pg_get_expr(adbin, adrelid) AS default
          FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid = 'dbos._prisma_migrations'::regclass AND attnum > 0
         ORDER BY attnum`),
    ).toEqual([
      { name: 'id', type: 'character varying(36)', required: true, default: null },
      { name: 'checksum', type: 'character varying(64)', required: true, default: null },
      { name: 'finished_at', type: 'timestamp with time zone', required: false, default: null },
      { name: 'migration_name', type: 'character varying(255)', required: true, default: null },
      { name: 'logs', type: 'text', required: false, default: null },
      { name: 'rolled_back_at', type: 'timestamp with time zone', required: false, default: null },
      { name: 'started_at', type: 'timestamp with time zone', required: true, default: 'now()' },
      { name: 'applied_steps_count', type: 'integer', required: true, default: '0' },
    ]);
  });

  it('B65: hold what Prisma Migrate would have entered', async () => {
    await migrateDatabase(database.url);

    expect(await rows('SELECT * FROM dbos._prisma_migrations')).toEqual(
      names.map((name) => ({
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
        finished_at: expect.any(Date),
        migration_name: name,
        logs: null,
        rolled_back_at: null,
        started_at: expect.any(Date),
        applied_steps_count: 1,
      })),
    );
  });

  it('B65: keep the wording of a published migration for ever', async () => {
    // A difference here means that databases out there would be refused: add a migration instead of editing one.
    expect(
      (await shippedMigrations()).map(({ name, sql }) => `${name} ${checksumOf(sql)}`),
    ).toEqual([
      '20261101000000_init c9e8472e528f88649d662ab6103d7640f641ae5bff93df86ac40f155fada2ed3',
      '20261126000000_queues f212ae07cb1849652d31fcee53cbff856dd8ac58fd3ff73a1df86a2887ec2dba',
      '20261126000100_functions b186eeefed98246aade9ef5fc52d78159f37f78b88a11ceb9a41abde102aa6d7',
      '20261126000200_schedules de3924c60b9a389ad51aa7b41a6254e1ec5c95f7fa76d643cb516951cbf4ad62',
      '20261128000000_messages d37a49edc77d04def612ca143e1c248f90d0767cd771389ab73c5306d27df4a6',
      '20261128000200_streams 3d8073a4cfd8d4d0a4e23787598b4d53196f0be5c4deb4706011e497edf1369f',
      '20261129000000_transactions 1923fdad108bb7a4b3d5d47e7795a2d143e593b1a32301090cb81d7583d08b49',
      '20261129000100_receive_deadlines 1b822b478dbb5b6e79c7086070df24aa43601b0db33885210355dd27c6eb0004',
      '20261129010000_control c1556098bbbe63c0f2497eab0ce464425d72d585c0c57edd84baf0aee1e1cc17',
      '20261129020000_introspection 2fec3c150472ca6228da2b46203d02a164a2cfe5e48c8f9010a556324b9264d8',
      '20261129020100_explanation 2bdb6a87d9f48e6d59566beb83a7ee6898fed812c5f5ed13401ecc2270fba0fd',
      '20261129020200_retention 2864bc73a8c5d6751cf42dad3700c8d0276921aca489948077393c14654830a5',
      '20261129020300_archive 469cacaa75bd0f143f6a4610f54e37013ea01170111afac14ae685ebaeabcf04',
      '20261129050000_alone abd6fa190237441e650fb2bf95173acf1d5d0381229d9d3eaa5aafa8363f1706',
      '20261129080000_backlogs e82c1b2d381a6c5287c3661f1258012b4b7a30162061f135a393bfb67afe21d1',
      '20261130000000_versions c05dc3dd882c20468579492a384067d1d911618760d1a4ab8736e55ba4fbd86c',
      '20261130010000_step_aggregates fbded1714ce97df77875d4021c066b23717ce3568797ec91d497497e84c9e700',
      '20261130020000_actions_archive 1672c9d94c41f32352bb784821ab358c0e6549d39d8e57d756ebe34ad57d3af7',
      '20261130020100_start_limits 313f3500f52dc6c884848769eecf162f5b9f98b2ff67170e5d2df7bd97790d45',
      '20261201000000_starts_alike 0df9d69209e8b9272137bbfd8b3e9cb17569e2d4542d12b57ee946002e2919ba',
    ]);
  });
});
