// Fills the template database: the library's migrations, then the sample shop's tables.
import { readdir, readFile } from 'node:fs/promises';
import pg from 'pg';
import { migrateDatabase } from '../../libs/dbos/src/prisma/migrate-database.js';

const SAMPLE_MIGRATIONS = new URL('../../prisma/migrations/', import.meta.url);

export async function prepareTemplate(url: string): Promise<void> {
  await migrateDatabase(url);
  await applySampleMigrations(url);
}

async function applySampleMigrations(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const migration of await sampleMigrations()) {
      await client.query(
        await readFile(new URL(`${migration}/migration.sql`, SAMPLE_MIGRATIONS), 'utf8'),
      );
    }
  } finally {
    await client.end();
  }
}

/** In the order in which Prisma Migrate applies them: that of their names. */
async function sampleMigrations(): Promise<string[]> {
  const entries = await readdir(SAMPLE_MIGRATIONS, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}
