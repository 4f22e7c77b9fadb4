// Counts the statements that reach the server in one test database, with their texts (pg_stat_statements).
import pg from 'pg';
import type { TestDatabase } from './database.js';
import { PREFIX, currentTestRun } from './test-run.js';

export interface CountedStatement {
  readonly sql: string;
  readonly calls: number;
  /** What its calls together added to the write-ahead log; whole pages, which follow a checkpoint, do not count. */
  readonly walBytes: number;
}

/** BEGIN and COMMIT are statements as well. */
export class StatementCounter {
  private constructor(private readonly client: pg.Client) {}

  /** Whether the server of this run can count: an embedded one can, a given one need not. */
  static async isPossible(): Promise<boolean> {
    const client = new pg.Client({ connectionString: currentTestRun().adminUrl });
    await client.connect();
    try {
      const { rows } = await client.query<{ possible: boolean }>(
        `SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
                AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS possible`,
      );
      return rows[0]?.possible === true;
    } catch {
      return false; // not everybody may read the setting
    } finally {
      await client.end();
    }
  }

  static async open({ url }: TestDatabase): Promise<StatementCounter> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
    // The server keeps a limited number of texts: make room by forgetting those of tests, and of nobody else.
    await client.query(
      `SELECT pg_stat_statements_reset(0, dbid, 0)
         FROM (SELECT DISTINCT s.dbid
                 FROM pg_stat_statements s
                 LEFT JOIN pg_database d ON d.oid = s.dbid
                WHERE d.oid IS NULL OR starts_with(d.datname, $1)) AS tested`,
      [PREFIX],
    );
    return new StatementCounter(client);
  }

  async close(): Promise<void> {
    await this.client.end();
  }

  /** What reaches the database while `work` goes on, whoever sends it. */
  async during(work: () => Promise<unknown>): Promise<CountedStatement[]> {
    const before = new Map((await this.read()).map((statement) => [statement.sql, statement]));
    await work();
    const after = await this.read();
    return after
      .map(({ sql, calls, walBytes }) => ({
        sql,
        calls: calls - (before.get(sql)?.calls ?? 0),
        walBytes: walBytes - (before.get(sql)?.walBytes ?? 0),
      }))
      .filter(({ calls }) => calls > 0);
  }

  private async read(): Promise<CountedStatement[]> {
    const { rows } = await this.client.query<CountedStatement>(
      `SELECT query AS sql, sum(calls)::int AS calls,
              sum(greatest(wal_bytes - wal_fpi * current_setting('block_size')::int, 0))::int AS "walBytes"
         FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND toplevel AND query NOT LIKE '%pg_stat_statements%'
        GROUP BY query`,
    );
    return rows;
  }
}
