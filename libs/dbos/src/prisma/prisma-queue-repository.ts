/** Claims and returns in PostgreSQL. */
import type {
  Claim,
  ClaimedWorkflow,
  DelayedRelease,
  QueueRepository,
  Requeue,
} from '../repository/queue-repository.js';
import type { Database } from './database.js';

/** Rows that one statement moves at most: bounds its locks and its time. */
const BATCH_SIZE = 1_000;

interface ClaimRow {
  id: string;
  name: string;
  epoch: number;
  recoveryAttempts: number;
  serialization: string;
  input: string;
}

export class PrismaQueueRepository implements QueueRepository {
  constructor(private readonly database: Database) {}

  async claim({
    executorId,
    names,
    limit,
    expiresAt,
    validForMs,
  }: Claim): Promise<ClaimedWorkflow[]> {
    const rows = await this.database.once<ClaimRow>(
      (client) => client.$queryRaw`
        WITH next AS (
          SELECT id
            FROM dbos.workflows
           WHERE status = 'ENQUEUED' AND name = ANY(${[...names]}::text[])
             AND clock_timestamp() < ${expiresAt}::timestamptz
           ORDER BY seq
           LIMIT ${limit}
             FOR NO KEY UPDATE SKIP LOCKED
        ), claimed AS (
          UPDATE dbos.workflows w
             SET status = 'PENDING', executor_id = ${executorId}, epoch = w.epoch + 1,
                 started_at = coalesce(w.started_at, now()), updated_at = now()
            FROM next
           WHERE w.id = next.id
          RETURNING w.seq, w.id, w.name, w.epoch, w.recovery_attempts, w.serialization, w.input
        )
        SELECT id, name, epoch, recovery_attempts AS "recoveryAttempts", serialization, input
          FROM claimed
         ORDER BY seq`,
      { timeoutMs: validForMs },
    );
    return rows.map(({ serialization, input, ...rest }) => ({
      ...rest,
      input: { text: input, format: serialization },
    }));
  }

  requeue({
    executorIds,
    except = [],
    before,
    countsAsRecovery,
  }: Requeue): Promise<Array<{ id: string; name: string }>> {
    // SKIP LOCKED: one row that a frozen process holds locked must not hold up all the others.
    return this.database.query(
      (client) => client.$queryRaw`
        WITH orphan AS (
          SELECT id
            FROM dbos.workflows
           WHERE status = 'PENDING'
             AND executor_id = ANY(${[...executorIds]}::text[])
             AND id <> ALL(${[...except]}::text[])
             AND updated_at <= coalesce(${before ?? null}::timestamptz, 'infinity')
           LIMIT ${BATCH_SIZE}
             FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE dbos.workflows w
           SET status = 'ENQUEUED', executor_id = NULL, updated_at = now(),
               recovery_attempts = w.recovery_attempts + ${countsAsRecovery ? 1 : 0}
          FROM orphan
         WHERE w.id = orphan.id
        RETURNING w.id, w.name`,
    );
  }

  async releaseDue(): Promise<DelayedRelease> {
    const [row] = await this.database.query<{ released: number; nextDueInMs: number | null }>(
      (client) => client.$queryRaw`
        WITH due AS (
          SELECT id
            FROM dbos.workflows
           WHERE status = 'DELAYED' AND wake_at <= now()
           ORDER BY wake_at
           LIMIT ${BATCH_SIZE}
             FOR NO KEY UPDATE SKIP LOCKED
        ), released AS (
          UPDATE dbos.workflows w
             SET status = 'ENQUEUED', wake_at = NULL, updated_at = now()
            FROM due
           WHERE w.id = due.id
          RETURNING w.id
        )
        SELECT (SELECT count(*)::int FROM released) AS released,
               (SELECT extract(epoch FROM w.wake_at - now())::float8 * 1000
                  FROM dbos.workflows w
                 WHERE w.status = 'DELAYED' AND w.id NOT IN (SELECT id FROM due)
                 ORDER BY w.wake_at
                 LIMIT 1) AS "nextDueInMs"`,
    );
    return row ?? { released: 0, nextDueInMs: null };
  }
}
