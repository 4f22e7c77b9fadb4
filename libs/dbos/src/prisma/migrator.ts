/** Brings the library's tables up to date, from the SQL files that the library brings along. */
import { sqlStateOf } from './database-error.js';
import {
  closeUnfinished,
  configure,
  enter,
  findLockHolder,
  openBooks,
  readBooks,
  takeLock,
  type BookEntry,
} from './migration-books.js';
import {
  MigrationEditedError,
  MigrationFailedError,
  MigrationLockedError,
  SchemaBehindError,
} from './migration-errors.js';
import {
  hasChecksum,
  shippedMigrations,
  type Migration,
  type MigrationSet,
} from './migration-files.js';
import { asOneStatement, scriptOf } from './migration-script.js';
import type { MigrationSession, MigrationTarget } from './migration-target.js';

export { prismaMigrationTarget, type MigrationTarget } from './migration-target.js';

export interface MigrationReport {
  /** Names of the migrations that this call applied, oldest first; empty when there was nothing to do. */
  readonly applied: readonly string[];
}

export type MigrationStatus =
  | { readonly state: 'current' }
  /** A newer build has migrated this database already. Its migrations only add, so this build can work on it. */
  | { readonly state: 'ahead'; readonly unknown: readonly string[] }
  | { readonly state: 'behind' | 'missing'; readonly pending: readonly string[] };

export interface MigratorOptions {
  /** How long to wait for another migrator, or for a table that somebody holds locked. Default 30,000. */
  readonly lockTimeoutMs?: number;
  /** Default: the workflow tables. */
  readonly set?: MigrationSet;
}

const DEFAULT_LOCK_TIMEOUT_MS = 30_000;

const LOCK_NOT_AVAILABLE = '55P03';

/**
 * SQLSTATE classes that say something about a migration: unsupported, bad data, violated constraint, missing schema,
 * syntax and access rights, objects in the way. Anything else is the infrastructure's, and the caller's to retry.
 */
const REFUSALS = new Set(['0A', '22', '23', '2B', '3F', '42', '55']);

/**
 * Applies what is pending. Any number of processes may do this at once, and any of them may die doing it: each
 * migration is one transaction together with its entry in the books. Costs one read when nothing is pending.
 */
export async function migrate(
  target: MigrationTarget,
  options?: MigratorOptions,
): Promise<MigrationReport> {
  return new Migrator(target, await shippedMigrations(options?.set), options).migrate();
}

/** Reads how the database stands to this build; changes nothing. */
export async function migrationStatus(
  target: MigrationTarget,
  set?: MigrationSet,
): Promise<MigrationStatus> {
  return new Migrator(target, await shippedMigrations(set)).status();
}

/** @throws SchemaBehindError when the database lacks something that this build needs */
export async function assertMigrated(target: MigrationTarget, set?: MigrationSet): Promise<void> {
  const pending = pendingOf(await migrationStatus(target, set));
  if (pending.length > 0) throw new SchemaBehindError(pending);
}

/** The SQL of all migrations, or of the named ones, ready to be reviewed and run by hand. */
export async function migrationSql(names?: readonly string[], set?: MigrationSet): Promise<string> {
  const migrations = await shippedMigrations(set);
  return scriptOf(names ? migrations.filter(({ name }) => names.includes(name)) : migrations);
}

/** One list of migrations over one database. */
export class Migrator {
  private readonly lockTimeoutMs: number;

  constructor(
    private readonly target: MigrationTarget,
    private readonly migrations: readonly Migration[],
    { lockTimeoutMs = DEFAULT_LOCK_TIMEOUT_MS }: MigratorOptions = {},
  ) {
    this.lockTimeoutMs = lockTimeoutMs;
  }

  async status(): Promise<MigrationStatus> {
    const entries = await readBooks(this.target);
    const pending = this.migrations
      .filter((migration) => !isApplied(migration, entries ?? []))
      .map(({ name }) => name);
    if (entries === undefined) return { state: 'missing', pending };
    if (pending.length > 0) return { state: 'behind', pending };
    const unknown = this.unknownOf(entries);
    return unknown.length > 0 ? { state: 'ahead', unknown } : { state: 'current' };
  }

  async migrate(): Promise<MigrationReport> {
    const pending = pendingOf(await this.status());
    const applied: string[] = [];
    for (const migration of this.migrations) {
      if (!pending.includes(migration.name)) continue;
      if (await this.apply(migration)) applied.push(migration.name);
    }
    return { applied };
  }

  /** False when another process was quicker. */
  private async apply(migration: Migration): Promise<boolean> {
    let locked = false;
    try {
      return await this.target.transaction(async (session) => {
        await configure(session, this.lockTimeoutMs);
        await takeLock(session);
        locked = true;
        return applyOnce(session, migration);
      });
    } catch (error) {
      if (!locked && sqlStateOf(error) === LOCK_NOT_AVAILABLE) throw await this.lockedOut(error);
      throw locked ? explain(error, migration) : error;
    }
  }

  private async lockedOut(cause: unknown): Promise<MigrationLockedError> {
    const holder = await findLockHolder(this.target);
    const description = holder
      ? `session ${holder.pid} ("${holder.application ?? 'unknown'}", ${holder.state ?? 'state unknown'})`
      : 'one that has let go of it just now';
    return new MigrationLockedError(holder?.pid, description, cause);
  }

  private unknownOf(entries: readonly BookEntry[]): string[] {
    const known = new Set(this.migrations.map(({ name }) => name));
    return entries
      .filter((entry) => entry.finished && !known.has(entry.migration_name))
      .map((entry) => entry.migration_name);
  }
}

function pendingOf(status: MigrationStatus): readonly string[] {
  return 'pending' in status ? status.pending : [];
}

/** @throws MigrationEditedError when it was applied in another wording */
function isApplied({ name, sql }: Migration, entries: readonly BookEntry[]): boolean {
  const entry = entries.find(
    (candidate) => candidate.finished && candidate.migration_name === name,
  );
  if (entry && !hasChecksum(sql, entry.checksum)) throw new MigrationEditedError(name);
  return entry !== undefined;
}

async function applyOnce(session: MigrationSession, migration: Migration): Promise<boolean> {
  await openBooks(session);
  const entries = await readBooks(session);
  if (isApplied(migration, entries ?? [])) return false;
  await closeUnfinished(session, migration.name);
  await session.execute(asOneStatement(migration.sql));
  await enter(session, migration);
  return true;
}

function explain(error: unknown, { name }: Migration): unknown {
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined || !REFUSALS.has(sqlState.slice(0, 2))) return error;
  return new MigrationFailedError(name, `${messageOf(error)} (${sqlState})`, error);
}

/** PostgreSQL's own words, without the frame that Prisma puts around them. */
function messageOf(error: unknown): string {
  const { message, meta } = error as {
    message?: string;
    meta?: { driverAdapterError?: { cause?: { originalMessage?: string } } };
  };
  return meta?.driverAdapterError?.cause?.originalMessage ?? message ?? String(error);
}
