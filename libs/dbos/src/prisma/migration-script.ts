/** Migrations as text: one statement for a driver, a reviewable script for people. */
import { CREATE_BOOKS, TAKE_LOCK } from './migration-books.js';
import { checksumOf, type Migration } from './migration-files.js';

/**
 * A whole script as one statement, because drivers that prepare statements take no more than one at a time. Nothing
 * has to understand the script for that: PostgreSQL splits it itself.
 */
export function asOneStatement(sql: string): string {
  return `DO $nestjs_dbos_do$ BEGIN EXECUTE $nestjs_dbos_script$${sql}$nestjs_dbos_script$; END $nestjs_dbos_do$`;
}

/**
 * What the migrator would do, for psql: under the lock, and with its entries in the books, so that the library
 * (and Prisma Migrate) will find the tables up to date.
 */
export function scriptOf(migrations: readonly Migration[]): string {
  const parts = [
    '-- The tables of nestjs-dbos. One transaction: all of it, or nothing.',
    'BEGIN;',
    'SET LOCAL search_path = dbos;',
    `${TAKE_LOCK};`,
    'CREATE SCHEMA IF NOT EXISTS dbos;',
    `${CREATE_BOOKS.replace('CREATE TABLE', 'CREATE TABLE IF NOT EXISTS')};`,
    ...migrations.map(sectionOf),
    'COMMIT;',
  ];
  return `${parts.join('\n\n')}\n`;
}

function sectionOf({ name, sql }: Migration): string {
  return `-- Migration ${name}

${sql.trim()}

INSERT INTO dbos._prisma_migrations
  (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
VALUES
  (gen_random_uuid(), '${checksumOf(sql)}', '${name}', clock_timestamp(), clock_timestamp(), 1);`;
}
