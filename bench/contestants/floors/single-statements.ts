/** One transition, one statement, prepared and fenced. */
import type pg from 'pg';
import { NotOwnedError, type End, type NewStep, type NewWorkflow, type Store } from './store.js';

export class SingleStatements implements Store {
  constructor(
    private readonly pool: pg.Pool,
    private readonly executorId: string,
  ) {}

  async start({ id, name, input }: NewWorkflow): Promise<void> {
    await this.pool.query({
      name: 'start',
      text: `INSERT INTO workflows (id, name, status, executor_id, input)
             VALUES ($1, $2, 'PENDING', $3, $4)
             ON CONFLICT (id) DO NOTHING`,
      values: [id, name, this.executorId, input],
    });
  }

  async record({ workflowId, stepId, output }: NewStep): Promise<void> {
    const { rowCount } = await this.pool.query({
      name: 'record',
      text: `INSERT INTO steps (workflow_id, step_id, output)
             SELECT $1, $2, $3
              WHERE EXISTS (SELECT FROM workflows
                             WHERE id = $1 AND status = 'PENDING' AND executor_id = $4)`,
      values: [workflowId, stepId, output, this.executorId],
    });
    if (rowCount !== 1) throw new NotOwnedError(workflowId);
  }

  async finish({ id, output }: End): Promise<void> {
    const { rowCount } = await this.pool.query({
      name: 'finish',
      text: `UPDATE workflows SET status = 'SUCCESS', output = $2, completed_at = now()
              WHERE id = $1 AND status = 'PENDING' AND executor_id = $3`,
      values: [id, output, this.executorId],
    });
    if (rowCount !== 1) throw new NotOwnedError(id);
  }
}
