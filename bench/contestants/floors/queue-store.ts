/** The statements of a queue that no engine can do without. */
import type pg from 'pg';
import { GroupCommit } from './group-commit.js';
import { QUEUE } from './schema.js';

export interface Waiting {
  readonly id: string;
  readonly input: string;
}

/** Into the queue: a statement a job, or one for all jobs that are enqueued at the same time. */
export interface Intake {
  enqueue(job: Waiting): Promise<void>;
}

export class SingleIntake implements Intake {
  constructor(private readonly pool: pg.Pool) {}

  async enqueue({ id, input }: Waiting): Promise<void> {
    await this.pool.query({
      name: 'enqueue',
      text: `INSERT INTO workflows (id, name, status, queue, place, input)
             VALUES ($1, 'job', 'ENQUEUED', $2, nextval('places'), $3)
             ON CONFLICT (id) DO NOTHING`,
      values: [id, QUEUE, input],
    });
  }
}

export class BatchedIntake implements Intake {
  private readonly group: GroupCommit<Waiting[]>;

  constructor(pool: pg.Pool) {
    this.group = new GroupCommit<Waiting[]>(
      () => [],
      (jobs) => enqueueMany(pool, jobs),
    );
  }

  enqueue(job: Waiting): Promise<void> {
    return this.group.add((jobs) => jobs.push(job));
  }
}

export async function enqueueMany(pool: pg.Pool, jobs: readonly Waiting[]): Promise<void> {
  await pool.query({
    name: 'enqueue-many',
    text: `INSERT INTO workflows (id, name, status, queue, place, input)
           SELECT id, 'job', 'ENQUEUED', $1, nextval('places'), input
             FROM unnest($2::text[], $3::text[]) AS given (id, input)
           ON CONFLICT (id) DO NOTHING`,
    values: [QUEUE, jobs.map(({ id }) => id), jobs.map(({ input }) => input)],
  });
}

/** Takes the oldest that nobody else is taking at the same time. */
export async function claim(
  pool: pg.Pool,
  executorId: string,
  limit: number,
): Promise<readonly Waiting[]> {
  const { rows } = await pool.query<Waiting & { readonly place: string }>({
    name: 'claim',
    text: `WITH next AS MATERIALIZED (
             SELECT id FROM workflows
              WHERE queue = $1 AND status = 'ENQUEUED'
              ORDER BY place
              LIMIT $2
                FOR UPDATE SKIP LOCKED
           )
           UPDATE workflows w SET status = 'PENDING', executor_id = $3
             FROM next
            WHERE w.id = next.id
           RETURNING w.id, w.input, w.place`,
    values: [QUEUE, limit, executorId],
  });
  return rows.sort((one, other) => Number(one.place) - Number(other.place));
}

/** Puts back what a process of this name had taken before it died. */
export async function requeue(pool: pg.Pool, executorId: string): Promise<void> {
  await pool.query(
    `UPDATE workflows SET status = 'ENQUEUED', executor_id = NULL
      WHERE executor_id = $1 AND status = 'PENDING' AND queue IS NOT NULL`,
    [executorId],
  );
}
