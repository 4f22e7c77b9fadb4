/** The migrator over a connection of its own, for those who have a connection string and no Prisma client. */
import pg from 'pg';
import { pgMigrationTarget, type MigrationTarget } from './migration-target.js';
import { migrate, type MigrationReport } from './migrator.js';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * @example
 * const { applied } = await migrateDatabase('postgresql://localhost/shop');
 */
export function migrateDatabase(connectionString: string): Promise<MigrationReport> {
  return withMigrationTarget(connectionString, (target) => migrate(target));
}

/** Connects, works, and disconnects. A database that cannot be reached is the caller's to retry. */
export async function withMigrationTarget<T>(
  connectionString: string,
  work: (target: MigrationTarget) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString,
    application_name: 'nestjs-dbos migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  // A connection that breaks while idle says so here, and would end the process if nobody listened.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(pgMigrationTarget(client));
  } finally {
    await client.end();
  }
}
