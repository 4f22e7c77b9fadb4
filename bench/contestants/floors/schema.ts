/** The tables of both floors: what any engine must keep, and the indexes that it cannot do without. */
import pg from 'pg';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS workflows (
    id           text COLLATE "C" PRIMARY KEY,
    name         text NOT NULL,
    status       text NOT NULL,
    executor_id  text NOT NULL,
    input        text NOT NULL,
    output       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
  );
  CREATE INDEX IF NOT EXISTS workflows_pending ON workflows (executor_id) WHERE status = 'PENDING';
  CREATE TABLE IF NOT EXISTS steps (
    workflow_id text COLLATE "C" NOT NULL,
    step_id     int NOT NULL,
    output      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow_id, step_id)
  )`;

export const COMPLETED_SQL = `SELECT count(*) FROM workflows WHERE status = 'SUCCESS'`;

export async function createTables(pool: pg.Pool): Promise<void> {
  await pool.query(SCHEMA);
}

/**
 * A statement is prepared once for a connection and its plan kept. Without these settings a plan that was made for
 * the empty tables of the first second would read them whole for the rest of the run.
 */
export const CONNECTION_OPTIONS =
  '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';
