/** Removes the completions of transactions that nobody will ask for any more, from the databases of the application. */
import type { CompletionRepository, CompletionSweep } from '../repository/completion-repository.js';
import type { WorkflowRepository } from '../repository/workflow-repository.js';
import type { Database } from './database.js';

interface CompletionRow {
  workflowId: string;
  /** As text: a `Date` has no microseconds. */
  completedAt: string;
}

export class Completions implements CompletionRepository {
  constructor(
    private readonly databases: readonly Database[],
    private readonly workflows: Pick<WorkflowRepository, 'states'>,
  ) {}

  get isNeeded(): boolean {
    return this.databases.length > 0;
  }

  async forget(workflowIds: readonly string[]): Promise<void> {
    await Promise.all(this.databases.map((database) => remove(database, workflowIds)));
  }

  async sweep(batch: CompletionSweep): Promise<CompletionSweep | undefined> {
    const { olderThanMs, size, after } = batch;
    const database = this.databases[batch.database];
    if (!database) return undefined;
    const rows = await database.query<CompletionRow>(
      (client) => client.$queryRaw`
        SELECT workflow_id AS "workflowId", completed_at::text AS "completedAt"
          FROM dbos.transaction_completions
         WHERE completed_at < now() - ${olderThanMs}::float8 * interval '1 millisecond'
           AND completed_at > coalesce(${after ?? null}::timestamptz, '-infinity')
         ORDER BY completed_at
         LIMIT ${size}::integer`,
    );
    const ids = [...new Set(rows.map(({ workflowId }) => workflowId))];
    const states = await this.workflows.states(ids);
    const unfinished = new Set(states.flatMap((state) => (state.completedAt ? [] : [state.id])));
    await remove(
      database,
      ids.filter((id) => !unfinished.has(id)),
    );
    const last = rows.at(-1);
    if (last && rows.length === size) return { ...batch, after: last.completedAt };
    const isLast = batch.database + 1 >= this.databases.length;
    return isLast ? undefined : { ...batch, database: batch.database + 1, after: undefined };
  }
}

async function remove(database: Database, workflowIds: readonly string[]): Promise<void> {
  if (workflowIds.length === 0) return;
  await database.query(
    (client) => client.$queryRaw<unknown[]>`
      DELETE FROM dbos.transaction_completions WHERE workflow_id = ANY (${[...workflowIds]}::text[])`,
  );
}
