/** All transitions of a group in one prepared, fenced statement. */
import type pg from 'pg';
import { GroupCommit } from './group-commit.js';
import { NotOwnedError, type End, type NewStep, type NewWorkflow, type Store } from './store.js';

interface Transitions {
  readonly starts: NewWorkflow[];
  readonly steps: NewStep[];
  readonly ends: End[];
}

export class BatchedStatements implements Store {
  private readonly group = new GroupCommit<Transitions>(
    () => ({ starts: [], steps: [], ends: [] }),
    (transitions) => this.write(transitions),
  );

  constructor(
    private readonly pool: pg.Pool,
    private readonly executorId: string,
  ) {}

  start(workflow: NewWorkflow): Promise<void> {
    return this.group.add(({ starts }) => starts.push(workflow));
  }

  record(step: NewStep): Promise<void> {
    return this.group.add(({ steps }) => steps.push(step));
  }

  finish(end: End): Promise<void> {
    return this.group.add(({ ends }) => ends.push(end));
  }

  /** Nothing depends on anything else in the same batch: whoever submits waits for the batch before. */
  private async write({ starts, steps, ends }: Transitions): Promise<void> {
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
