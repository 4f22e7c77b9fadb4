/** Export and import in PostgreSQL, which makes JSON of the rows, and rows of it. */
import type {
  ArchivedWorkflow,
  ArchiveRepository,
  ImportResult,
} from '../repository/archive-repository.js';
import type { Database } from './database.js';

export class PrismaArchiveRepository implements ArchiveRepository {
  constructor(private readonly database: Database) {}

  async export(
    workflowId: string,
    { children, atMost }: { readonly children: boolean; readonly atMost: number },
  ): Promise<ArchivedWorkflow[] | undefined> {
    const [row] = await this.database.query<{ workflows: ArchivedWorkflow[] | null }>(
      (client) => client.$queryRaw`
        SELECT workflows
          FROM dbos.export_workflows(${workflowId}, ${children}::boolean, ${atMost}::integer) AS workflows`,
    );
    return row?.workflows ?? undefined;
  }

  import(workflows: readonly ArchivedWorkflow[]): Promise<ImportResult[]> {
    const archived = JSON.stringify(workflows);
    return this.database.query<ImportResult>(
      (client) => client.$queryRaw`SELECT id, result FROM dbos.import_workflows(${archived}::json)`,
    );
  }
}
