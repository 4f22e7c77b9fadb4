// What years of use leave in the tables, written by the server itself.
import type pg from 'pg';
import type { WorkflowStatus } from '../../libs/dbos/src/core/status.js';

/** A statement's own work memory and log are of no interest here. */
const QUICKLY = `SET LOCAL synchronous_commit = off`;

/**
 * Finished workflows of two steps each; every tenth is somebody's child, every twentieth has attributes. Each has received
 * a message, set an event and given out a token.
 */
export async function writeHistory(client: pg.ClientBase, workflows: number): Promise<void> {
  await client.query('BEGIN');
  await client.query(QUICKLY);
  await client.query(
    `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, parent_id, attributes, serialization, input,
                                 outcome_serialization, output, error, created_at, started_at, completed_at)
     SELECT 'history ' || n, 'Name ' || n % 7,
            (ARRAY['SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS', 'ERROR', 'CANCELLED'])[1 + n % 9],
            'executor ' || n % 50, 1,
            CASE WHEN n % 10 = 0 THEN 'history ' || n - 1 END,
            CASE WHEN n % 20 = 0 THEN jsonb_build_object('customer', n % 1000) END,
            'json', '[' || n || ']', 'json', '"done"', NULL,
            now() - n * interval '1 second', now() - n * interval '1 second', now() - n * interval '1 second'
       FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at)
     SELECT 'history ' || n, step::text, 'step ' || step, 1, 'json', '"done"', now()
       FROM generate_series(1, $1::int) AS n, generate_series(0, 1) AS step`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.messages (workflow_id, topic, idempotency_key, serialization, message, consumed_by)
     SELECT 'history ' || n, 'topic', 'key ' || n, 'json', '"done"', '0' FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.events (workflow_id, step_id, epoch, key, serialization, value)
     SELECT 'history ' || n, '1', 1, 'progress', 'json', '"done"' FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.tokens (id, proof, workflow_id, step_id)
     SELECT 'token ' || n, 'proof', 'history ' || n, '1' FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.stream_entries (workflow_id, key, "offset", step_id, epoch, serialization, value)
     SELECT 'history ' || n, 'progress', 0, '1', 1, 'json', '"done"' FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query(
    `INSERT INTO dbos.workflow_actions (workflow_id, action)
     SELECT 'history ' || n, 'cancelled' FROM generate_series(1, $1::int) AS n`,
    [workflows],
  );
  await client.query('COMMIT');
}

export interface ActiveRows {
  readonly status: WorkflowStatus;
  readonly count: number;
  /** Ids are this and a number from 1. */
  readonly prefix: string;
  readonly name?: string;
  readonly executorId?: string;
  readonly epoch?: number;
  /** When the delayed ones are due, from now. */
  readonly dueInSeconds?: number;
  readonly queue?: string;
  /** When they are to be cancelled, from now. Default: never. */
  readonly deadlineInSeconds?: number;
  /** Of so many partitions. */
  readonly partitions?: number;
  /** Of the application. Default: none. */
  readonly version?: string;
}

/** Workflows in a state of which there are few at a time. */
export async function writeActive(client: pg.ClientBase, rows: ActiveRows): Promise<string[]> {
  const { status, count, prefix, name = 'Name 0', executorId, epoch = 1 } = rows;
  const { dueInSeconds = 3_600, queue, partitions, deadlineInSeconds, version } = rows;
  const written = await client.query<{ id: string }>(
    `INSERT INTO dbos.workflows (id, name, status, executor_id, epoch, wake_at, queue, partition_key, serialization,
                                 input, completed_at, deadline, application_version)
     SELECT $1 || n, $2, $3, $4, $5, CASE WHEN $3 = 'DELAYED' THEN now() + $6 * interval '1 second' END, $8,
            'partition ' || n % $9, 'test', '[]',
            CASE WHEN $3 IN ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED') THEN now() END,
            now() + $10::float8 * interval '1 second', $11
       FROM generate_series(1, $7::int) AS n
     RETURNING id`,
    [
      prefix,
      name,
      status,
      executorId ?? null,
      epoch,
      dueInSeconds,
      count,
      queue ?? null,
      partitions ?? null,
      deadlineInSeconds ?? null,
      version ?? null,
    ],
  );
  return written.rows.map(({ id }) => id);
}
