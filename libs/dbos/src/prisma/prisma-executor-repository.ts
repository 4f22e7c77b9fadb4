/**
 * The executors in PostgreSQL. Who is alive is judged by the database: its clock for leases, and its locks for
 * processes that hold a session of their own.
 */
import { DatabaseUnavailableError } from '../core/errors.js';
import type {
  ExecutorHolder,
  ExecutorRegistration,
  ExecutorRepository,
  Heartbeat,
  HeartbeatTerms,
} from '../repository/executor-repository.js';
import type { Database } from './database.js';
import type { PostgresSession } from './postgres-session.js';

interface RegisterRow extends ExecutorHolder {
  readonly registered: boolean;
}

/**
 * A process whose lock is free is dead when its last heartbeat is at least this old: a live one that only lost its
 * session goes on sending heartbeats, several in this time.
 */
export const SESSION_GRACE_MS = 1_750;

export class PrismaExecutorRepository implements ExecutorRepository {
  constructor(
    private readonly database: Database,
    private readonly sessionInUse: () => PostgresSession | undefined = () => undefined,
  ) {}

  private get session(): PostgresSession | undefined {
    return this.sessionInUse();
  }

  /** @param goneId the holder of the name, when its process is known to have ended */
  async register(
    executor: ExecutorRegistration,
    goneId: string | null = null,
  ): Promise<ExecutorHolder | undefined> {
    const { id, name = null, leaseMs, hostname, pid, applicationVersion = null } = executor;
    const { workflows, queues, compatibleVersions = [] } = executor;
    if (await this.session?.hold(id)) await this.verifySession();
    const lockKey = this.session?.lockKey ?? null;
    const runsAny = workflows === undefined || workflows.length > 0;
    // The insert reads from `superseded`, so that it comes after it and finds the name free.
    const [row] = await this.database.query<RegisterRow>(
      (client) => client.$queryRaw`
        WITH superseded AS (
          UPDATE dbos.executors
             SET dead_at = now()
           WHERE name = ${name}::text AND id <> ${id} AND dead_at IS NULL
             AND ((id = ${goneId}::text AND dbos.session_is_gone(lock_key))
                  OR dbos.executor_is_gone(heartbeat_at, lease_ms, lock_key, ${SESSION_GRACE_MS}::int))
          RETURNING id
        ), versioned AS (
          INSERT INTO dbos.application_versions (version)
          SELECT ${applicationVersion}::text WHERE ${applicationVersion}::text IS NOT NULL AND ${runsAny}::boolean
              ON CONFLICT DO NOTHING
        ), registered AS (
          INSERT INTO dbos.executors (id, name, lease_ms, hostname, pid, application_version, lock_key,
                                      workflow_names, queues, compatible_versions)
          SELECT ${id}, ${name}::text, ${leaseMs}::int, ${hostname}, ${pid}::int, ${applicationVersion}::text,
                 ${lockKey}::bigint, ${workflows ? [...workflows] : null}::text[],
                 ${queues ? [...queues] : null}::text[], ${[...compatibleVersions]}::text[]
            FROM (SELECT count(*) FROM superseded) AS after_superseding
              ON CONFLICT DO NOTHING
          RETURNING id
        )
        SELECT true AS registered, id, '' AS hostname, 0 AS pid, 0::float8 AS "leaseEndsInMs"
          FROM registered
         UNION ALL
        SELECT e.id = ${id}, e.id, e.hostname, e.pid,
               extract(epoch FROM e.heartbeat_at - now())::float8 * 1000 + e.lease_ms
          FROM dbos.executors e
         WHERE e.dead_at IS NULL AND (e.id = ${id} OR e.name = ${name}::text)
           AND NOT EXISTS (SELECT FROM registered)`,
    );
    // No row at all: the holder was removed between snapshot and conflict; the next try will tell.
    if (!row) return this.register(executor);
    if (row.registered) {
      await this.declareGoneNeighbours(executor); // now, or by a sending whose answer was lost
      return undefined;
    }
    const isNewsOfDeath = row.id !== goneId && processIsGone(row, hostname);
    return isNewsOfDeath ? this.register(executor, row.id) : row;
  }

  async heartbeat(id: string, { withinMs, mayDeclare }: HeartbeatTerms): Promise<Heartbeat> {
    const lockKey = this.session?.lockKey ?? null;
    const [row] = await this.database.query<Heartbeat>(
      (client) => client.$queryRaw`
        SELECT alive, database_now AS "databaseNow", dead, has_audience AS "hasAudience",
               suspect_in_ms AS "suspectInMs", next_deadline_in_ms AS "nextDeadlineInMs"
          FROM dbos.heartbeat(${id}, ${lockKey}::bigint, ${mayDeclare()}::boolean, ${SESSION_GRACE_MS}::integer)`,
      { timeoutMs: withinMs, maxPauseMs: withinMs / 2 },
    );
    if (this.session && lockKey === null) void this.session.hold(id);
    if (!row) throw new DatabaseUnavailableError('The heartbeat had no answer.');
    return row;
  }

  async bury(ids: readonly string[]): Promise<void> {
    await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        WITH buried AS (
          SELECT id
            FROM dbos.executors e
           WHERE id = ANY(${[...ids]}::text[])
             AND dead_at IS NOT NULL
             AND e.id IS DISTINCT FROM ( -- one index probe, whatever the statistics say
                   SELECT w.executor_id
                     FROM dbos.workflows w
                    WHERE w.status = 'PENDING' AND w.executor_id >= e.id COLLATE "default"
                    ORDER BY w.executor_id
                    LIMIT 1)
             FOR UPDATE SKIP LOCKED
        )
        DELETE FROM dbos.executors e USING buried WHERE e.id = buried.id
        RETURNING e.id`,
    );
  }

  async remove(id: string): Promise<void> {
    await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`DELETE FROM dbos.executors WHERE id = ${id} RETURNING id`,
    );
    await this.session?.close();
  }

  async databaseNow(): Promise<Date> {
    const [row] = await this.database.query<{ now: Date }>(
      (client) => client.$queryRaw`SELECT clock_timestamp() AS now`,
    );
    return row?.now ?? new Date();
  }

  /**
   * Executors of this machine whose sessions have ended and whose processes are gone: a restart need not wait for their
   * leases, nor for the grace after a start of the server, to know that they are dead.
   */
  private async declareGoneNeighbours({ id, hostname }: ExecutorRegistration): Promise<void> {
    const neighbours = await this.database.query<{ id: string; hostname: string; pid: number }>(
      (client) => client.$queryRaw`
        SELECT id, hostname, pid
          FROM dbos.executors
         WHERE hostname = ${hostname} AND id <> ${id} AND dead_at IS NULL AND dbos.session_is_gone(lock_key)`,
    );
    const gone = neighbours.filter((neighbour) => processIsGone(neighbour, hostname));
    if (gone.length === 0) return;
    const ids = gone.map((neighbour) => neighbour.id);
    await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        UPDATE dbos.executors
           SET dead_at = now()
         WHERE id = ANY(${ids}::text[]) AND dead_at IS NULL AND dbos.session_is_gone(lock_key)
        RETURNING id`,
    );
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
    if (row?.visible) return;
    const pidNow = await this.session?.backendPid().catch(() => undefined);
    if (pidNow === pid) await this.session?.disable(); // else its lock went with it, which says nothing of where it led
  }
}

/** Whether a process of this machine has ended. One of another machine may live. */
function processIsGone(
  { hostname, pid }: Pick<ExecutorHolder, 'hostname' | 'pid'>,
  ownHostname: string,
): boolean {
  if (hostname !== ownHostname) return false;
  if (pid === process.pid) return false; // another engine of this very process, or a number used again
  try {
    process.kill(pid, 0); // signal 0 only asks
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
