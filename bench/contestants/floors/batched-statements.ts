/** Group commit: whatever is pending when one of two lanes is free leaves as one prepared, fenced statement. */
import type pg from 'pg';
import { NotOwnedError, type End, type NewStep, type NewWorkflow, type Store } from './store.js';

const LANES = 2;

interface Batch {
  readonly starts: NewWorkflow[];
  readonly steps: NewStep[];
  readonly ends: End[];
  /** Settles when the batch is durable. */
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class BatchedStatements implements Store {
  private pending = newBatch();
  private isScheduled = false;
  private busyLanes = 0;

  constructor(
    private readonly pool: pg.Pool,
    private readonly executorId: string,
  ) {}

  start(workflow: NewWorkflow): Promise<void> {
    this.pending.starts.push(workflow);
    return this.join();
  }

  record(step: NewStep): Promise<void> {
    this.pending.steps.push(step);
    return this.join();
  }

  finish(end: End): Promise<void> {
    this.pending.ends.push(end);
    return this.join();
  }

  private join(): Promise<void> {
    const { written } = this.pending;
    this.schedule();
    return written;
  }

  private schedule(): void {
    if (this.isScheduled || this.busyLanes === LANES) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      void this.send(this.pending);
    });
  }

  private async send(batch: Batch): Promise<void> {
    this.pending = newBatch();
    this.busyLanes += 1;
    await this.write(batch).then(batch.resolve, batch.reject);
    this.busyLanes -= 1;
    const { starts, steps, ends } = this.pending;
    if (starts.length + steps.length + ends.length > 0) this.schedule();
  }

  /** Nothing depends on anything else in the same batch: whoever submits waits for the batch before. */
  private async write({ starts, steps, ends }: Batch): Promise<void> {
    const { rows } = await this.pool.query<{ recorded: string; finished: string }>({
      name: 'batch',
      text: `WITH started AS (
               INSERT INTO workflows (id, name, status, executor_id, input)
               SELECT id, name, 'PENDING', $1, input
                 FROM unnest($2::text[], $3::text[], $4::text[]) AS given (id, name, input)
               ON CONFLICT (id) DO NOTHING
             ), recorded AS (
               INSERT INTO steps (workflow_id, step_id, output)
               SELECT given.workflow_id, given.step_id, given.output
                 FROM unnest($5::text[], $6::int[], $7::text[]) AS given (workflow_id, step_id, output)
                 JOIN workflows w ON w.id = given.workflow_id
                                 AND w.status = 'PENDING' AND w.executor_id = $1
               RETURNING workflow_id
             ), finished AS (
               UPDATE workflows w SET status = 'SUCCESS', output = given.output, completed_at = now()
                 FROM unnest($8::text[], $9::text[]) AS given (id, output)
                WHERE w.id = given.id AND w.status = 'PENDING' AND w.executor_id = $1
               RETURNING w.id
             )
             SELECT (SELECT count(*) FROM recorded) AS recorded, (SELECT count(*) FROM finished) AS finished`,
      values: [
        this.executorId,
        starts.map(({ id }) => id),
        starts.map(({ name }) => name),
        starts.map(({ input }) => input),
        steps.map(({ workflowId }) => workflowId),
        steps.map(({ stepId }) => stepId),
        steps.map(({ output }) => output),
        ends.map(({ id }) => id),
        ends.map(({ output }) => output),
      ],
    });
    const [row] = rows;
    const isOwned = Number(row?.recorded) === steps.length && Number(row?.finished) === ends.length;
    if (!isOwned) throw new NotOwnedError('of this batch');
  }
}

function newBatch(): Batch {
  let resolve = (): void => undefined;
  let reject: Batch['reject'] = () => undefined;
  const written = new Promise<void>((onWritten, onFailure) => {
    resolve = onWritten;
    reject = onFailure;
  });
  return { starts: [], steps: [], ends: [], written, resolve, reject };
}
