/** The database as the migrator uses it, so that a Prisma client and a plain `pg` connection serve it alike. */
import type pg from 'pg';
import type { PrismaClientLike, PrismaStatements } from './prisma-client.js';

/** Statements inside one transaction. */
export interface MigrationSession {
  query<T>(sql: string, ...values: unknown[]): Promise<T[]>;
  execute(sql: string, ...values: unknown[]): Promise<void>;
}

export interface MigrationTarget {
  /** One statement outside any transaction. */
  query<T>(sql: string, ...values: unknown[]): Promise<T[]>;
  /**
   * Commits when `work` resolves, rolls back when it rejects. Each statement sees what was committed before it
   * (READ COMMITTED): a migrator that waited for the lock has to see what its predecessor did.
   */
  transaction<T>(work: (session: MigrationSession) => Promise<T>): Promise<T>;
}

/** Prisma's own limits (2 s, 5 s) are for requests; a migration waits for others and may have much to do. */
const TRANSACTION_LIMITS = { maxWait: 60_000, timeout: 15 * 60_000 };

/**
 * The application's own client. A pool of one connection is enough.
 * @param statements what reads outside of transactions; a client loads its query compiler for its first query
 */
export function prismaMigrationTarget(
  client: PrismaClientLike,
  statements: PrismaStatements = client,
): MigrationTarget {
  return {
    query: (sql, ...values) => prismaSession(statements).query(sql, ...values),
    transaction: (work) =>
      client.$transaction((transaction) => work(prismaSession(transaction)), {
        ...TRANSACTION_LIMITS,
        isolationLevel: 'ReadCommitted',
      }),
  };
}

function prismaSession(statements: PrismaStatements): MigrationSession {
  return {
    query: async <T>(sql: string, ...values: unknown[]) =>
      statements.$queryRawUnsafe<T[]>(sql, ...values),
    execute: async (sql, ...values) => {
      await statements.$executeRawUnsafe(sql, ...values);
    },
  };
}

/** A connection of its own, open for as long as the target is used. */
export function pgMigrationTarget(client: pg.Client): MigrationTarget {
  const session: MigrationSession = {
    query: async <T>(sql: string, ...values: unknown[]) =>
      (await client.query(sql, values)).rows as T[],
    execute: async (sql, ...values) => {
      await client.query(sql, values);
    },
  };
  return {
    query: (sql, ...values) => session.query(sql, ...values),
    transaction: async (work) => {
      await session.execute('BEGIN ISOLATION LEVEL READ COMMITTED');
      try {
        const result = await work(session);
        await session.execute('COMMIT');
        return result;
      } catch (error) {
        // If even this fails, the connection is gone, and the transaction with it.
        await session.execute('ROLLBACK').catch(() => undefined);
        throw error;
      }
    },
  };
}
