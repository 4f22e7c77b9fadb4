/** Queues in PostgreSQL: their limits, claims and returns. */
import type { QueueLimits } from '../core/queue.js';
import type {
  Claim,
  ClaimAnswer,
  ClaimedWorkflow,
  Debounce,
  Delay,
  QueueBacklog,
  QueueCounts,
  QueueRecord,
  QueueRepository,
  Replacement,
  Requeue,
} from '../repository/queue-repository.js';
import type { Querying } from './database.js';
import type { PrismaStatements } from './prisma-client.js';
import { workflowColumns } from './start-statements.js';
import { limitColumns, limitsOf, type LimitColumns } from './queue-limits.js';

/** Rows that one statement moves at most: bounds its locks and its time. */
const BATCH_SIZE = 1_000;

type ClaimedRow = Omit<ClaimedWorkflow, 'input'> & {
  readonly serialization: string;
  readonly input: string;
};

/** What the last row of a claim, which has no id, says of the rest. */
interface RestRow {
  readonly id: null;
  readonly againInMs: number | null;
  readonly heldBack: string[];
  readonly leftDue: string[];
  readonly context: Pick<ClaimAnswer, 'shared' | 'paused'>;
}

interface BounceRow {
  id: string;
  owned: boolean;
}

function claimedOf(row: ClaimedRow): ClaimedWorkflow {
  const { id, name, epoch, recoveryAttempts, failures, queue, deadline, context } = row;
  const input = { text: row.input, format: row.serialization };
  return { id, name, epoch, recoveryAttempts, failures, queue, input, deadline, context };
}

type BounceStep = Parameters<QueueRepository['debounceInWorkflow']>[1];

export class PrismaQueueRepository implements QueueRepository {
  constructor(private readonly database: Querying) {}

  async claim({
    executorId,
    names,
    versions,
    queues,
    limit,
    expiresAt,
    validForMs,
  }: Claim): Promise<ClaimAnswer> {
    const listening = JSON.stringify(queues);
    const rows = await this.database.once<ClaimedRow | RestRow>(
      (client) => client.$queryRaw`
        SELECT id, name, epoch, recovery_attempts AS "recoveryAttempts", failures, queue, serialization, input,
               again_in_ms AS "againInMs", contended AS "heldBack", left_due AS "leftDue", deadline,
               context
          FROM dbos.claim_workflows(${executorId}, ${[...names]}::text[], ${[...versions]}::text[], ${listening}::json,
                                    ${limit}::integer, ${expiresAt}::timestamptz)`,
      { timeoutMs: validForMs },
    );
    const rest = rows.find((row): row is RestRow => row.id === null);
    return {
      claimed: rows.flatMap((row) => (row.id === null ? [] : [claimedOf(row)])),
      againInMs: rest?.againInMs ?? null,
      heldBack: rest?.heldBack ?? [],
      leftDue: rest?.leftDue ?? [],
      shared: rest?.context.shared ?? [],
      paused: rest?.context.paused ?? [],
    };
  }

  requeue({
    executorIds,
    except = [],
    only,
    before,
    countsAsRecovery,
  }: Requeue): Promise<Array<{ id: string; name: string }>> {
    // SKIP LOCKED: one row that a frozen process holds locked must not hold up all the others.
    return this.database.query(
      (client) => client.$queryRaw`
        UPDATE dbos.workflows w
           SET status = 'ENQUEUED', executor_id = NULL, updated_at = now(),
               recovery_attempts = w.recovery_attempts + ${countsAsRecovery ? 1 : 0}
         WHERE w.id = ANY (ARRAY(
                 SELECT orphan.id
                   FROM dbos.workflows orphan
                  WHERE orphan.status = 'PENDING'
                    AND orphan.executor_id = ANY(${[...executorIds]}::text[])
                    AND orphan.id <> ALL(${[...except]}::text[])
                    AND (${only === undefined} OR orphan.id = ANY(${[...(only ?? [])]}::text[]))
                    AND orphan.updated_at <= coalesce(${before ?? null}::timestamptz, 'infinity')
                  LIMIT ${BATCH_SIZE}
                    FOR NO KEY UPDATE SKIP LOCKED))
        RETURNING w.id, w.name`,
    );
  }

  async declare(
    queues: ReadonlyArray<{ readonly name: string; readonly limits: QueueLimits }>,
  ): Promise<void> {
    const rows = JSON.stringify(
      queues.map(({ name, limits }) => ({ name, ...limitColumns(limits), declared: limits })),
    );
    // A change waits for the claims that go by what was, in the order in which claims wait for each other.
    await this.database.query<{ name: string }>(
      (client) => client.$queryRaw`
        WITH given AS MATERIALIZED (
          SELECT given.*
            FROM jsonb_to_recordset(${rows}::jsonb) AS given(
                   name text, concurrency integer, worker_concurrency integer, rate_limit integer,
                   rate_period_ms integer, is_partitioned boolean, partition_concurrency integer,
                   partition_rate_limit integer, partition_rate_period_ms integer, declared jsonb)
           WHERE NOT EXISTS (SELECT FROM dbos.queues q WHERE q.name = given.name AND q.declared = given.declared)
           ORDER BY given.name COLLATE "C"
        ), turn AS MATERIALIZED (
          SELECT dbos.take_turn(given.name, true) FROM given
        )
        INSERT INTO dbos.queues AS q (
                 name, concurrency, worker_concurrency, rate_limit, rate_period_ms, is_partitioned,
                 partition_concurrency, partition_rate_limit, partition_rate_period_ms, declared)
        SELECT given.*
          FROM given
         WHERE (SELECT count(*) FROM turn) > 0
         ORDER BY given.name COLLATE "C"
            ON CONFLICT (name) DO UPDATE
           SET concurrency = EXCLUDED.concurrency, worker_concurrency = EXCLUDED.worker_concurrency,
               rate_limit = EXCLUDED.rate_limit, rate_period_ms = EXCLUDED.rate_period_ms,
               is_partitioned = EXCLUDED.is_partitioned,
               partition_concurrency = EXCLUDED.partition_concurrency,
               partition_rate_limit = EXCLUDED.partition_rate_limit,
               partition_rate_period_ms = EXCLUDED.partition_rate_period_ms,
               declared = EXCLUDED.declared, updated_at = now()
         WHERE q.declared <> EXCLUDED.declared
        RETURNING q.name`,
    );
  }

  async find(name: string): Promise<QueueRecord | undefined> {
    const [row] = await this.database.query<LimitColumns & { name: string; paused: boolean }>(
      (client) => client.$queryRaw`
        SELECT name, paused, concurrency, worker_concurrency, rate_limit, rate_period_ms, is_partitioned,
               partition_concurrency, partition_rate_limit, partition_rate_period_ms
          FROM dbos.queues
         WHERE name = ${name}`,
    );
    return row && { name: row.name, paused: row.paused, limits: limitsOf(row) };
  }

  async configure(name: string, limits: QueueLimits): Promise<boolean> {
    const row = limitColumns(limits);
    const rows = await this.database.query<{ name: string }>(
      (client) => client.$queryRaw`
        WITH turn AS MATERIALIZED (SELECT dbos.take_turn(${name}, true))
        UPDATE dbos.queues
           SET concurrency = ${row.concurrency}::integer, worker_concurrency = ${row.worker_concurrency}::integer,
               rate_limit = ${row.rate_limit}::integer, rate_period_ms = ${row.rate_period_ms}::integer,
               is_partitioned = ${row.is_partitioned}::boolean,
               partition_concurrency = ${row.partition_concurrency}::integer,
               partition_rate_limit = ${row.partition_rate_limit}::integer,
               partition_rate_period_ms = ${row.partition_rate_period_ms}::integer, updated_at = now()
          FROM turn
         WHERE name = ${name}
        RETURNING name`,
    );
    return rows.length > 0;
  }

  async setPaused(name: string, paused: boolean): Promise<boolean> {
    const rows = await this.database.query<{ name: string }>(
      (client) => client.$queryRaw`
        WITH turn AS MATERIALIZED (SELECT dbos.take_turn(${name}, true))
        UPDATE dbos.queues
           SET paused = ${paused}::boolean, updated_at = now()
          FROM turn
         WHERE name = ${name}
        RETURNING name`,
    );
    return rows.length > 0;
  }

  async counts(name: string): Promise<QueueCounts> {
    // One branch for each partial index; what is delayed is few beside the history, or is asked for rarely.
    const [row] = await this.database.query<QueueCounts>(
      (client) => client.$queryRaw`
        SELECT waiting.enqueued + in_partitions.enqueued AS enqueued,
               (SELECT count(*)::int
                  FROM dbos.workflows
                 WHERE status = 'DELAYED' AND wake_at IS NOT NULL AND queue = ${name}) AS delayed,
               (SELECT count(*)::int FROM dbos.workflows WHERE status = 'PENDING' AND queue = ${name}) AS pending,
               least(waiting.oldest, in_partitions.oldest) AS "oldestEnqueuedAt"
          FROM (SELECT count(*)::int AS enqueued, min(created_at) AS oldest
                  FROM dbos.workflows
                 WHERE status = 'ENQUEUED' AND partition_key IS NULL AND queue = ${name}) AS waiting,
               (SELECT count(*)::int AS enqueued, min(created_at) AS oldest
                  FROM dbos.workflows
                 WHERE status = 'ENQUEUED' AND partition_key IS NOT NULL AND queue = ${name}) AS in_partitions`,
    );
    return row ?? { enqueued: 0, delayed: 0, pending: 0, oldestEnqueuedAt: null };
  }

  backlogs(names: readonly string[], atMost: number): Promise<QueueBacklog[]> {
    return this.database.query<QueueBacklog>(
      (client) => client.$queryRaw`
        SELECT name, paused, enqueued, oldest_ms AS "oldestMs"
          FROM dbos.queue_backlogs(${[...names]}::text[], ${atMost}::integer)`,
    );
  }

  async setPriority(workflowIds: readonly string[], priority: number): Promise<string[]> {
    const rows = await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        WITH asked AS MATERIALIZED (
          SELECT DISTINCT id COLLATE "C" AS id FROM unnest(${[...workflowIds]}::text[]) AS asked(id) ORDER BY 1
        ), target AS MATERIALIZED (
          SELECT asked.id
            FROM asked
           CROSS JOIN LATERAL (
                   SELECT w.status FROM dbos.workflows w WHERE w.id = asked.id LIMIT 1 FOR NO KEY UPDATE) AS locked
           WHERE locked.status IN ('ENQUEUED', 'DELAYED')
        )
        UPDATE dbos.workflows w
           SET priority = ${priority}::integer, updated_at = now()
          FROM target
         WHERE w.id = ANY (ARRAY[target.id])
        RETURNING w.id`,
    );
    return rows.map(({ id }) => id);
  }

  async setDelay(workflowId: string, until: Delay): Promise<boolean> {
    const runAt = 'runAt' in until ? until.runAt : null;
    const delayMs = 'delayMs' in until ? until.delayMs : null;
    const rows = await this.database.query<{ id: string }>(
      (client) => client.$queryRaw`
        UPDATE dbos.workflows
           SET wake_at = coalesce(${runAt}::timestamptz, now() + ${delayMs}::float8 * interval '1 millisecond'),
               updated_at = now()
         WHERE id = ${workflowId} AND status = 'DELAYED' AND epoch = 0
        RETURNING id`,
    );
    return rows.length > 0;
  }

  async debounce(debounce: Debounce): Promise<string> {
    const rows = await this.database.once<BounceRow>((client) => sendBounce(client, debounce));
    return rows[0]?.id ?? debounce.workflow.id;
  }

  async debounceInWorkflow(debounce: Debounce, step: BounceStep): Promise<string | undefined> {
    const [row] = await this.database.query<BounceRow>((client) =>
      sendBounce(client, debounce, step),
    );
    return row?.owned ? row.id : undefined;
  }

  async replaceWaiting(replacement: Replacement): Promise<boolean> {
    const { workflowId, name, input, attributes, context, priority = 0 } = replacement;
    const { delayMs = null, runAt = null, partitionKey = null } = replacement;
    const { timeoutMs = null, deadline = null } = replacement;
    const rows = await this.database.query<{ name: string }>(
      (client) => client.$queryRaw`
        UPDATE dbos.workflows w
           SET input = ${input.text}, serialization = ${input.format},
               attributes = ${attributes ? JSON.stringify(attributes) : null}::jsonb,
               context = ${context ? JSON.stringify(context) : null}::jsonb,
               priority = ${priority}::integer, partition_key = ${partitionKey}::text,
               timeout_ms = ${timeoutMs}::float8, deadline = ${deadline}::timestamptz,
               status = CASE WHEN due.at > now() THEN 'DELAYED' ELSE 'ENQUEUED' END,
               wake_at = CASE WHEN due.at > now() THEN due.at END, updated_at = now()
          FROM (SELECT coalesce(${runAt}::timestamptz,
                                now() + ${delayMs}::float8 * interval '1 millisecond') AS at) AS due
         WHERE w.id = ${workflowId} AND w.name = ${name} AND w.epoch = 0 AND w.status IN ('ENQUEUED', 'DELAYED')
        RETURNING w.id`,
    );
    return rows.length > 0;
  }
}

function sendBounce(
  client: PrismaStatements,
  { workflow, key, periodMs, maxWaitMs, queue }: Debounce,
  step?: BounceStep,
): PromiseLike<BounceRow[]> {
  const row = JSON.stringify({ ...workflowColumns(workflow), queue, debounce_key: key });
  const owner = step && {
    id: step.owner.workflowId,
    executor_id: step.owner.executorId,
    epoch: step.owner.epoch,
  };
  const run = owner ? JSON.stringify(owner) : null;
  const call = step ? JSON.stringify({ step_id: step.stepId, name: step.name }) : null;
  return client.$queryRaw`
    SELECT id, owned
      FROM dbos.debounce_workflow(${row}::json, ${periodMs}::float8, ${maxWaitMs ?? null}::float8, ${run}::json,
                                  ${call}::json)`;
}
