// Gives a test a database in which nobody has been yet; for everything else there is createTestDatabase.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { withAdmin } from './admin-connection.js';
import { dropDatabase, type TestDatabase } from './database.js';
import { currentTestRun, databaseUrl } from './test-run.js';

export async function createEmptyDatabase(): Promise<TestDatabase> {
  const { adminUrl, prefix } = currentTestRun();
  const name = `${prefix}_empty_${randomBytes(5).toString('hex')}`;
  await withAdmin(adminUrl, (client) =>
    client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)} TEMPLATE template0`),
  );
  return {
    url: databaseUrl(adminUrl, name),
    name,
    drop: () => withAdmin(adminUrl, (client) => dropDatabase(client, name)),
  };
}
