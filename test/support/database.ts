// Gives a test a database of its own: a copy of the run's template, with all migrations applied.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { withAdmin } from './admin-connection.js';
import { currentTestRun, databaseUrl } from './test-run.js';

export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  /** Ends what is still connected, then removes the database. */
  drop(): Promise<void>;
}

/** Any number: concurrent copies of one template can fail, so they queue up behind this advisory lock. */
const COPY_LOCK = 7_236_400_051;

/**
 * @example
 * const database = await createTestDatabase();
 * const prisma = new PrismaClient({ adapter: new PrismaPg(database.url) });
 * afterAll(() => database.drop());
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { adminUrl, prefix, copyClause } = currentTestRun();
  const name = `${prefix}_${randomBytes(5).toString('hex')}`;
  await withAdmin(adminUrl, async (client) => {
    // The lock ends with the connection.
    await client.query('SELECT pg_advisory_lock($1)', [COPY_LOCK]);
    await client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)} ${copyClause}`);
  });
  return {
    url: databaseUrl(adminUrl, name),
    name,
    drop: () => withAdmin(adminUrl, (client) => dropDatabase(client, name)),
  };
}

export async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
}
