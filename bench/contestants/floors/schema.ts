/** The tables of both floors: what any engine must keep, and the indexes that it cannot do without. */
import pg from 'pg';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS workflows (
    id           text COLLATE "C" PRIMARY KEY,
    name         text NOT NULL,
    status       text NOT NULL,
    executor_id  text,
    input        text NOT NULL,
    output       text,
    queue        text,
    place        bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
  );
  CREATE SEQUENCE IF NOT EXISTS places;
  CREATE INDEX IF NOT EXISTS workflows_pending ON workflows (executor_id) WHERE status = 'PENDING';
  CREATE INDEX IF NOT EXISTS workflows_waiting ON workflows (queue, place) WHERE status = 'ENQUEUED';
  CREATE TABLE IF NOT EXISTS steps (
    workflow_id text COLLATE "C" NOT NULL,
    step_id     int NOT NULL,
    output      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow_id, step_id)
  )`;

/** The one queue of the bench. */
export const QUEUE = 'bench';

export const COMPLETED_SQL = `SELECT count(*) FROM workflows WHERE status = 'SUCCESS'`;

export const UNFINISHED_SQL = `SELECT (SELECT count(*) FROM workflows WHERE status = 'ENQUEUED')
                                    + (SELECT count(*) FROM workflows WHERE status = 'PENDING') AS count`;

export function pastSql(workflows: number): readonly string[] {
  return [
    `WITH ended AS (
       INSERT INTO workflows (id, name, status, executor_id, input, output, created_at, completed_at)
       SELECT gen_random_uuid()::text, 'run', 'SUCCESS', 'bench', '1', '1', at, at
         FROM generate_series(1, ${workflows}) AS n,
              LATERAL (SELECT now() - (${workflows} - n + 1) * interval '2 seconds') AS t (at)
       RETURNING id, created_at
     )
     INSERT INTO steps (workflow_id, step_id, output, created_at)
     SELECT id, 0, '1', created_at FROM ended`,
  ];
}

export async function createTables(pool: pg.Pool): Promise<void> {
  await pool.query(SCHEMA);
}

/**
 * A statement is prepared once for a connection and its plan kept. Without these settings a plan that was made for
 * the empty tables of the first second would read them whole for the rest of the run.
 */
export const CONNECTION_OPTIONS =
  '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off';
