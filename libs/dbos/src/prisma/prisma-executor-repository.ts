/**
 * The executors in PostgreSQL. Who is alive is judged by the database: its clock for leases, and its locks for
 * processes that hold a session of their own.
 */
import type {
  ExecutorHolder,
  ExecutorRegistration,
  ExecutorRepository,
  Heartbeat,
} from '../repository/executor-repository.js';
import type { Database } from './database.js';
import type { PostgresSession } from './postgres-session.js';

interface Identity {
  readonly id: string;
  readonly incarnation: string;
}

interface RegisterRow extends ExecutorHolder {
  readonly registered: boolean;
}

/**
 * A process whose lock is free is dead when its last heartbeat is at least this old: a live one that only lost its
 * session goes on sending heartbeats, several in this time.
 */
const SESSION_GRACE_MS = 1_200;

export class PrismaExecutorRepository implements ExecutorRepository {
  constructor(
    private readonly database: Database,
    private readonly session?: PostgresSession,
  ) {}

  async register(
    executor: ExecutorRegistration,
    goneIncarnation?: string,
  ): Promise<ExecutorHolder | undefined> {
    const { id, incarnation, leaseMs, hostname, pid, applicationVersion = null } = executor;
    const holdsLock = (await this.session?.hold(id)) ?? false;
    if (holdsLock) await this.verifySession();
    const lockKey = this.session?.lockKey ?? null;
    // The row is replaced only when its holder is dead; the same incarnation again is a lost acknowledgement. Whoever
    // holds the lock of an id knows that the session of its last holder has ended.
    const [row] = await this.database.query<RegisterRow>(
      (client) => client.$queryRaw`
        WITH registered AS (
          INSERT INTO dbos.executors AS e (id, incarnation, lease_ms, hostname, pid, application_version, lock_key)
          VALUES (${id}, ${incarnation}, ${leaseMs}::int, ${hostname}, ${pid}::int, ${applicationVersion}::text,
                  ${lockKey}::bigint)
              ON CONFLICT (id) DO UPDATE
             SET incarnation = excluded.incarnation, lease_ms = excluded.lease_ms, hostname = excluded.hostname,
                 pid = excluded.pid, application_version = excluded.application_version,
                 lock_key = excluded.lock_key, heartbeat_at = now(), started_at = now(), dead_at = NULL
           WHERE e.dead_at IS NOT NULL
              OR e.incarnation = excluded.incarnation
              OR e.heartbeat_at + e.lease_ms * interval '1 millisecond' < now()
              OR (${holdsLock}::boolean AND e.lock_key IS NOT NULL
                  AND (e.incarnation = ${goneIncarnation ?? null}::text
                       OR e.heartbeat_at + ${SESSION_GRACE_MS}::int * interval '1 millisecond' < now()))
          RETURNING e.id
        )
        SELECT true AS registered, '' AS incarnation, '' AS hostname, 0 AS pid, 0::float8 AS "leaseEndsInMs"
          FROM registered
         UNION ALL
        SELECT false, e.incarnation, e.hostname, e.pid,
               extract(epoch FROM e.heartbeat_at - now())::float8 * 1000 + e.lease_ms
          FROM dbos.executors e
         WHERE e.id = ${id} AND NOT EXISTS (SELECT FROM registered)`,
    );
    // No row at all: the holder was removed between snapshot and conflict; the next try will tell.
    if (!row) return this.register(executor);
    if (row.registered) return undefined;
    const isGone = row.incarnation !== goneIncarnation && processIsGone(row, hostname);
    return isGone && holdsLock ? this.register(executor, row.incarnation) : row;
  }

  /** A lock that the application's own connections cannot see would tell nobody anything. */
  private async verifySession(): Promise<void> {
    const pid = await this.session?.backendPid().catch(() => undefined);
    if (pid === undefined) return; // lost again meanwhile
    const [row] = await this.database.query<{ visible: boolean }>(
      (client) => client.$queryRaw`
        SELECT EXISTS (SELECT FROM pg_locks
                        WHERE locktype = 'advisory' AND pid = ${pid}::int
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS visible`,
    );
    if (!row?.visible) await this.session?.disable();
  }

  async heartbeat({ id, incarnation }: Identity): Promise<Heartbeat> {
    const lockKey = this.session?.lockKey ?? null;
    // Locks are free for a while after a start of the server, until everybody has come back: then leases decide.
    const [row] = await this.database.query<{
      alive: boolean;
      databaseNow: Date;
      dead: string[] | null;
    }>(
      (client) => client.$queryRaw`
        WITH RECURSIVE beat AS (
          UPDATE dbos.executors
             SET heartbeat_at = now(), lock_key = ${lockKey}::bigint
           WHERE id = ${id} AND incarnation = ${incarnation} AND dead_at IS NULL
          RETURNING id
        ), expired AS (
          SELECT id
            FROM dbos.executors e
           WHERE id <> ${id} AND dead_at IS NULL
             AND (heartbeat_at + lease_ms * interval '1 millisecond' < now()
                  OR (lock_key IS NOT NULL
                      AND heartbeat_at + ${SESSION_GRACE_MS}::int * interval '1 millisecond' < now()
                      AND pg_postmaster_start_time() + lease_ms * interval '1 millisecond' < now()
                      AND NOT EXISTS (
                            SELECT FROM pg_locks l
                             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                               AND l.classid::bigint = (e.lock_key >> 32) & 4294967295
                               AND l.objid::bigint = e.lock_key & 4294967295)))
             FOR NO KEY UPDATE SKIP LOCKED
        ), declared AS (
          UPDATE dbos.executors e
             SET dead_at = now()
            FROM expired
           WHERE e.id = expired.id
          RETURNING e.id
        ), owner AS ( -- one index probe for each executor that owns anything, however much it owns
          (SELECT executor_id FROM dbos.workflows WHERE status = 'PENDING' ORDER BY executor_id LIMIT 1)
           UNION ALL
          SELECT (SELECT w.executor_id FROM dbos.workflows w
                   WHERE w.status = 'PENDING' AND w.executor_id > owner.executor_id
                   ORDER BY w.executor_id LIMIT 1)
            FROM owner
           WHERE owner.executor_id IS NOT NULL
        )
        SELECT EXISTS (SELECT FROM beat) AS alive,
               clock_timestamp() AS "databaseNow",
               ARRAY(SELECT id FROM declared
                      UNION
                     SELECT id FROM dbos.executors WHERE dead_at IS NOT NULL AND id <> ${id}
                      UNION
                     SELECT executor_id FROM owner
                      WHERE executor_id <> ${id}
                        AND NOT EXISTS (SELECT FROM dbos.executors e WHERE e.id = owner.executor_id)) AS dead`,
    );
    if (this.session && lockKey === null) void this.session.hold(id);
    return {
      alive: row?.alive ?? false,
      databaseNow: row?.databaseNow ?? new Date(),
      dead: row?.dead ?? [],
    };
  }

  async bury(ids: readonly string[]): Promise<void> {
    await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        DELETE FROM dbos.executors e
         WHERE e.id = ANY(${[...ids]}::text[])
           AND e.dead_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM dbos.workflows w WHERE w.status = 'PENDING' AND w.executor_id = e.id)
        RETURNING e.id`,
    );
  }

  async remove({ id, incarnation }: Identity): Promise<void> {
    await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        DELETE FROM dbos.executors WHERE id = ${id} AND incarnation = ${incarnation} RETURNING id`,
    );
    await this.session?.close();
  }

  async databaseNow(): Promise<Date> {
    const [row] = await this.database.query<{ now: Date }>(
      (client) => client.$queryRaw`SELECT clock_timestamp() AS now`,
    );
    return row?.now ?? new Date();
  }
}

/** Whether a process of this machine has ended. One of another machine may live. */
function processIsGone({ hostname, pid }: ExecutorHolder, ownHostname: string): boolean {
  if (hostname !== ownHostname) return false;
  if (pid === process.pid) return true; // we are not the one that wrote this, so its number was given to us
  try {
    process.kill(pid, 0); // signal 0 only asks
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
