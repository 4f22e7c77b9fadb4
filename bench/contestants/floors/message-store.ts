/** The statements of messages and events that no engine can do without: each fenced, each with its checkpoint. */
import type pg from 'pg';
import { NotOwnedError } from './store.js';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS messages (
    workflow_id text COLLATE "C" NOT NULL,
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    topic       text NOT NULL,
    message     text NOT NULL,
    consumed_by int,
    PRIMARY KEY (workflow_id, seq)
  );
  CREATE INDEX IF NOT EXISTS messages_waiting ON messages (workflow_id, topic, seq) WHERE consumed_by IS NULL;
  CREATE TABLE IF NOT EXISTS events (
    workflow_id text COLLATE "C" NOT NULL,
    key         text NOT NULL,
    value       text NOT NULL,
    PRIMARY KEY (workflow_id, key)
  )`;

/** A step of a workflow that this executor runs. */
export interface Place {
  readonly workflowId: string;
  readonly stepId: number;
}

export class MessageStore {
  constructor(
    private readonly pool: pg.Pool,
    private readonly executorId: string,
  ) {}

  async createTables(): Promise<void> {
    await this.pool.query(SCHEMA);
  }

  /** Resolves with the executor that runs the workflow it is for. */
  async send({ workflowId, stepId }: Place, to: string, message: string): Promise<string> {
    const { rows } = await this.pool.query<{ executor_id: string }>({
      name: 'send',
      text: `WITH destination AS MATERIALIZED (
               SELECT executor_id FROM workflows WHERE id = $4
             ), recorded AS (
               INSERT INTO steps (workflow_id, step_id, output)
               SELECT $1, $2, 'null'
                 FROM destination
                WHERE EXISTS (SELECT FROM workflows
                               WHERE id = $1 AND status = 'PENDING' AND executor_id = $3)
               RETURNING step_id
             ), sent AS (
               INSERT INTO messages (workflow_id, topic, message) SELECT $4, 'ball', $5 FROM recorded
             )
             SELECT executor_id FROM destination, recorded`,
      values: [workflowId, stepId, this.executorId, to, message],
    });
    const [row] = rows;
    if (!row) throw new NotOwnedError(workflowId);
    return row.executor_id;
  }

  /** Consumes the oldest message. Where there is none, the deadline of the waiting is recorded under the step before. */
  async receive({ workflowId, stepId }: Place, deadlineMs: number): Promise<string | undefined> {
    const { rows } = await this.pool.query<{ output: string }>({
      name: 'receive',
      text: `WITH next AS MATERIALIZED (
               SELECT m.seq, m.message
                 FROM messages m
                WHERE m.workflow_id = $1 AND m.topic = 'ball' AND m.consumed_by IS NULL
                  AND EXISTS (SELECT FROM workflows
                               WHERE id = $1 AND status = 'PENDING' AND executor_id = $3)
                ORDER BY m.seq
                LIMIT 1
             ), consumed AS (
               UPDATE messages m SET consumed_by = $2
                 FROM next
                WHERE m.workflow_id = $1 AND m.seq = next.seq
             ), deadline AS (
               INSERT INTO steps (workflow_id, step_id, output)
               SELECT $1, $2 - 1, $4
                WHERE NOT EXISTS (SELECT FROM next)
                  AND EXISTS (SELECT FROM workflows
                               WHERE id = $1 AND status = 'PENDING' AND executor_id = $3)
                   ON CONFLICT DO NOTHING
             )
             INSERT INTO steps (workflow_id, step_id, output)
             SELECT $1, $2, next.message FROM next
             RETURNING output`,
      values: [workflowId, stepId, this.executorId, String(deadlineMs)],
    });
    return rows[0]?.output;
  }

  async setEvent({ workflowId, stepId }: Place, key: string, value: string): Promise<void> {
    const { rowCount } = await this.pool.query({
      name: 'set-event',
      text: `WITH recorded AS (
               INSERT INTO steps (workflow_id, step_id, output)
               SELECT $1, $2, 'null'
                WHERE EXISTS (SELECT FROM workflows
                               WHERE id = $1 AND status = 'PENDING' AND executor_id = $3)
               RETURNING step_id
             )
             INSERT INTO events (workflow_id, key, value) SELECT $1, $4, $5 FROM recorded
             ON CONFLICT (workflow_id, key) DO UPDATE SET value = excluded.value`,
      values: [workflowId, stepId, this.executorId, key, value],
    });
    if (rowCount !== 1) throw new NotOwnedError(workflowId);
  }

  async event(workflowId: string, key: string): Promise<string | undefined> {
    const { rows } = await this.pool.query<{ value: string }>({
      name: 'event',
      text: 'SELECT value FROM events WHERE workflow_id = $1 AND key = $2',
      values: [workflowId, key],
    });
    return rows[0]?.value;
  }
}
