// The outside world of crash tests: a table that step bodies write on a connection of their own, so that what they
// did stays known whatever becomes of their process and of its checkpoints.
import pg from 'pg';

export interface LedgerEntry {
  readonly workflowId: string;
  readonly step: string;
  readonly pid: number;
  readonly at: Date;
}

export class Ledger {
  private constructor(private readonly client: pg.Pool) {}

  static async open(url: string): Promise<Ledger> {
    // One connection for as long as the ledger is open: what a test sets or locks on it stays.
    const client = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
    client.on('error', () => undefined);
    await client.query('SELECT');
    return new Ledger(client);
  }

  async create(): Promise<void> {
    await this.client.query(
      `CREATE TABLE public.test_ledger (
         id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
         workflow_id text NOT NULL,
         step        text NOT NULL,
         pid         integer NOT NULL,
         at          timestamptz NOT NULL DEFAULT clock_timestamp())`,
    );
  }

  async enter(workflowId: string, step: string): Promise<void> {
    await this.client.query(
      'INSERT INTO public.test_ledger (workflow_id, step, pid) VALUES ($1, $2, $3)',
      [workflowId, step, process.pid],
    );
  }

  async entries(workflowId?: string): Promise<LedgerEntry[]> {
    const { rows } = await this.client.query<LedgerEntry>(
      `SELECT workflow_id AS "workflowId", step, pid, at
         FROM public.test_ledger
        WHERE workflow_id = coalesce($1, workflow_id)
        ORDER BY id`,
      [workflowId ?? null],
    );
    return rows;
  }

  /** How often each step body of a workflow was entered. */
  async counts(workflowId: string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { step } of await this.entries(workflowId)) counts[step] = (counts[step] ?? 0) + 1;
    return counts;
  }

  /** Any statement, for what a test wants to see or to do in the database. */
  async query<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.client.query<Row>(sql, values)).rows;
  }

  async close(): Promise<void> {
    await this.client.end();
  }
}
