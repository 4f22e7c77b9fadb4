/** The migrations that the library brings, laid out as Prisma Migrate wants them: `<name>/migration.sql`. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { MigrationFilesMissingError } from './migration-errors.js';

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** The workflow tables, or what a database of the application has that is apart from them. */
export type MigrationSet = 'workflows' | 'application';

/** Beside this file in the sources, and beside its compiled form in the package. */
const DIRECTORIES: Readonly<Record<MigrationSet, URL>> = {
  workflows: new URL('./migrations/', import.meta.url),
  application: new URL('./migrations-application/', import.meta.url),
};

/** In the order in which they are applied: that of their names, which begin with a time. */
export async function shippedMigrations(set: MigrationSet = 'workflows'): Promise<Migration[]> {
  const directory = DIRECTORIES[set];
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    throw new MigrationFilesMissingError(directory, error);
  });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(names.sort().map((name) => readMigration(directory, name)));
}

async function readMigration(directory: URL, name: string): Promise<Migration> {
  const sql = await readFile(new URL(`${name}/migration.sql`, directory), 'utf8');
  return { name, sql };
}

/** What Prisma Migrate enters in its books for a script. */
export function checksumOf(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}

/** Git may have changed the line ends between the one who applied it and us; Prisma Migrate sees past that too. */
export function hasChecksum(sql: string, checksum: string): boolean {
  const unix = sql.replaceAll('\r\n', '\n');
  return [sql, unix, unix.replaceAll('\n', '\r\n')].some((text) => checksumOf(text) === checksum);
}
