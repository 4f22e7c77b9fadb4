/**
 * Prisma Migrate's own books, kept in the library's schema: `prisma migrate status|deploy` with `?schema=dbos` reads
 * what we write and the other way round, and the application's history in its own schema never hears of us.
 */
import { randomUUID } from 'node:crypto';
import { sqlStateOf } from './database-error.js';
import { checksumOf, type Migration } from './migration-files.js';
import type { MigrationSession, MigrationTarget } from './migration-target.js';

/** One attempt at a migration; a failed one and its repetition are two entries. */
export interface BookEntry {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished: boolean;
}

/** The key of Prisma Migrate's advisory lock. It takes it for a session, we for a transaction: they exclude each other. */
const LOCK_KEY = 72_707_369;

export const TAKE_LOCK = `SELECT pg_advisory_xact_lock(${LOCK_KEY})`;

const UNDEFINED_TABLE = '42P01';

/** As Prisma Migrate creates it, column by column. */
export const CREATE_BOOKS = `\
CREATE TABLE dbos._prisma_migrations (
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
 * For this transaction only: names without a schema mean ours, as with Prisma's `?schema=dbos`; waiting for a lock
 * ends some time; and a limit on statements, which roles of applications often have, is not for migrations.
 */
export async function configure(session: MigrationSession, lockTimeoutMs: number): Promise<void> {
  await session.query(
    `SELECT set_config('search_path', 'dbos', true),
            set_config('lock_timeout', $1, true),
            set_config('statement_timeout', '0', true)`,
    String(lockTimeoutMs),
  );
}

/** Waits until nobody else migrates. As a command: a query could not return the function's result, which is void. */
export async function takeLock(session: MigrationSession): Promise<void> {
  await session.execute(TAKE_LOCK);
}

/**
 * Creates what is missing; the caller holds the lock. Asks first, because CREATE … IF NOT EXISTS wants the right to
 * create even where there is nothing to do.
 */
export async function openBooks(session: MigrationSession): Promise<void> {
  const [found] = await session.query<{ schema: boolean; books: boolean }>(
    `SELECT to_regnamespace('dbos') IS NOT NULL AS schema,
            to_regclass('dbos._prisma_migrations') IS NOT NULL AS books`,
  );
  if (!found?.schema) await session.execute('CREATE SCHEMA IF NOT EXISTS dbos');
  if (!found?.books) await session.execute(CREATE_BOOKS);
}

/** Undefined where there are no books: this database was never migrated. */
export async function readBooks(
  database: Pick<MigrationTarget, 'query'>,
): Promise<BookEntry[] | undefined> {
  try {
    return await database.query<BookEntry>(
      `SELECT migration_name, checksum, finished_at IS NOT NULL AS finished
         FROM dbos._prisma_migrations
        WHERE rolled_back_at IS NULL
        ORDER BY started_at`,
    );
  } catch (error) {
    if (sqlStateOf(error) === UNDEFINED_TABLE) return undefined;
    throw error;
  }
}

/**
 * Marks attempts of a dead `prisma migrate deploy` as rolled back, which they are: Prisma sends a script as one
 * implicit transaction. We hold the lock, so nobody is at it any more.
 */
export async function closeUnfinished(session: MigrationSession, name: string): Promise<void> {
  await session.execute(
    `UPDATE dbos._prisma_migrations
        SET rolled_back_at = now()
      WHERE migration_name = $1 AND finished_at IS NULL AND rolled_back_at IS NULL`,
    name,
  );
}

/** Enters a migration as done, in the transaction that did it. */
export async function enter(session: MigrationSession, { name, sql }: Migration): Promise<void> {
  await session.execute(
    `INSERT INTO dbos._prisma_migrations
       (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
     VALUES ($1, $2, $3, now(), clock_timestamp(), 1)`,
    randomUUID(),
    checksumOf(sql),
    name,
  );
}

export interface LockHolder {
  readonly pid: number;
  readonly application: string | null;
  readonly state: string | null;
}

export async function findLockHolder(target: MigrationTarget): Promise<LockHolder | undefined> {
  const [holder] = await target.query<LockHolder>(
    `SELECT lock.pid, activity.application_name AS application, activity.state
       FROM pg_locks AS lock
       JOIN pg_database AS database ON database.oid = lock.database
       LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
      WHERE lock.locktype = 'advisory' AND lock.granted
        AND lock.classid = 0 AND lock.objid = $1::bigint::oid AND lock.objsubid = 1
        AND database.datname = current_database()`,
    LOCK_KEY,
  );
  return holder;
}
