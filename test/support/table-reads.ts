// How much of the workflow tables one session of the server reads: what PostgreSQL counts of scans, rows and blocks.
import pg from 'pg';
import { currentTestRun } from './test-run.js';

export interface Reads {
  /** Sequential scans of a table, and the rows they read. */
  readonly scans: number;
  readonly scannedRows: number;
  /** Entries that index scans returned. */
  readonly entries: number;
  /** Blocks of tables and indexes that were looked at, in memory or not. */
  readonly blocks: number;
}

/** Tables that grow with the history; the others hold a handful of rows. */
export const GROWING = [
  'workflows',
  'steps',
  'messages',
  'events',
  'tokens',
  'stream_entries',
  'workflow_actions',
];

interface Queryable {
  query(sql: string): Promise<unknown>;
}

export class TableReads {
  private constructor(
    private readonly observer: pg.Client,
    private readonly sessions: readonly Queryable[],
  ) {}

  /** PostgreSQL 14 has no way to make its counters current. */
  static async isPossible(): Promise<boolean> {
    const client = new pg.Client({ connectionString: currentTestRun().adminUrl });
    await client.connect();
    const { rows } = await client.query<{ known: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_stat_force_next_flush') AS known`,
    );
    await client.end();
    return rows[0]?.known === true;
  }

  /** @param sessions all that read anything: pools of one connection, say */
  static async open(url: string, sessions: readonly Queryable[]): Promise<TableReads> {
    const observer = new pg.Client({ connectionString: url });
    await observer.connect();
    return new TableReads(observer, sessions);
  }

  async close(): Promise<void> {
    await this.observer.end();
  }

  /** What is read while `work` goes on, if nobody else reads. */
  async during(work: () => Promise<unknown>): Promise<Reads> {
    const before = await this.read();
    await work();
    const after = await this.read();
    return {
      scans: after.scans - before.scans,
      scannedRows: after.scannedRows - before.scannedRows,
      entries: after.entries - before.entries,
      blocks: after.blocks - before.blocks,
    };
  }

  private async read(): Promise<Reads> {
    // A session tells of what it did only now and then, up to ten seconds later; this makes it tell at the end of this very
    // statement. One that did not would tell of earlier work in the middle of what is measured.
    for (const session of this.sessions)
      await session.query('SELECT pg_stat_force_next_flush()::text');
    const { rows } = await this.observer.query<Reads>(
      `SELECT sum(t.seq_scan)::int AS scans,
              sum(t.seq_tup_read)::int AS "scannedRows",
              sum((SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid))::int AS entries,
              sum(b.heap_blks_hit + b.heap_blks_read + b.idx_blks_hit + b.idx_blks_read)::int AS blocks
         FROM pg_stat_user_tables t
         JOIN pg_statio_user_tables b USING (relid)
        WHERE t.schemaname = 'dbos' AND t.relname = ANY($1)`,
      [GROWING],
    );
    return rows[0]!;
  }
}
