// Applies the shop's own migrations as `prisma migrate deploy` would, and in its books, but without Prisma's engine.
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import pg from 'pg';

/** The advisory lock that Prisma Migrate takes, so that the two never run at once. */
const MIGRATE_LOCK = 72707369;

/** What Prisma Migrate creates; it recognises its own. */
const CREATE_BOOKS = `
  CREATE TABLE IF NOT EXISTS public._prisma_migrations (
    id                  VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum            VARCHAR(64) NOT NULL,
    finished_at         TIMESTAMPTZ,
    migration_name      VARCHAR(255) NOT NULL,
    logs                TEXT,
    rolled_back_at      TIMESTAMPTZ,
    started_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
  )`;

/**
 * @param {string} databaseUrl
 * @param {URL} folder with one folder per migration, as Prisma lays them out
 * @returns {Promise<string[]>} the names of those that were applied now
 */
export async function applyMigrations(databaseUrl, folder) {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATE_LOCK]);
    await client.query(CREATE_BOOKS);
    const done = await finishedMigrations(client);
    const missing = (await migrationsIn(folder)).filter((name) => !done.has(name));
    for (const name of missing) {
      await applyMigration(
        client,
        name,
        await readFile(new URL(`${name}/migration.sql`, folder), 'utf8'),
      );
    }
    return missing;
  } finally {
    // The lock ends with the connection.
    await client.end();
  }
}

async function finishedMigrations(client) {
  const { rows } = await client.query(
    `SELECT migration_name FROM public._prisma_migrations
      WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL`,
  );
  return new Set(rows.map((row) => row.migration_name));
}

async function migrationsIn(folder) {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** Script and entry are one transaction: a migration that fails leaves nothing, and is tried again next time. */
async function applyMigration(client, name, script) {
  const checksum = createHash('sha256').update(script).digest('hex');
  await client.query('BEGIN');
  try {
    await client.query(script);
    await client.query(
      `INSERT INTO public._prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    );
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw new Error(`migration ${name}: ${error.message}`, { cause: error });
  }
}
