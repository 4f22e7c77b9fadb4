/** The PostgreSQL server of a run: its own, with everything that makes a commit durable switched on, or a given one. */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { EmbeddedPostgres, systemBinDirectories } from '../generated/embedded-postgres/index.js';
import { postgresCpuMs } from './postgres-cpu.js';
import type { Counters } from './reading.js';

const DIRECTORY = fileURLToPath(new URL('../../.postgres', import.meta.url));
const MAINTENANCE_DATABASE = 'postgres';
/** Marks the bench's own statements, so that they are not counted. */
const PROBE = '/* bench probe */';

/** No checkpoint falls into a phase: whom it hit would pay for full-page images that another one is spared. */
const SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '256MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '60min',
  max_connections: 100,
};

export interface ServerSettings {
  /** Also measure planning; that itself costs time. */
  readonly planning?: boolean;
}

export class BenchServer {
  private readonly clients = new Map<string, pg.Client>();

  private constructor(
    private readonly connectionString: string,
    private readonly own: EmbeddedPostgres | undefined,
    private readonly postmaster: number | undefined,
  ) {}

  static async start({ planning = false }: ServerSettings = {}): Promise<BenchServer> {
    const given = process.env['DATABASE_URL'];
    const own = given ? undefined : await startOwn(planning);
    const url = given ?? own?.url(MAINTENANCE_DATABASE) ?? '';
    const server = new BenchServer(url, own, own && (await postmasterOf(own)));
    const admin = await server.client(MAINTENANCE_DATABASE);
    await admin.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
    return server;
  }

  url(database: string): string {
    const url = new URL(this.connectionString);
    url.pathname = `/${database}`;
    return url.href;
  }

  async version(): Promise<string> {
    const admin = await this.client(MAINTENANCE_DATABASE);
    const { rows } = await admin.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version ?? 'unknown';
  }

  async createDatabase(name: string): Promise<void> {
    const admin = await this.client(MAINTENANCE_DATABASE);
    await admin.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${pg.escapeIdentifier(name)}`);
  }

  async dropDatabase(name: string): Promise<void> {
    await this.clients.get(name)?.end();
    this.clients.delete(name);
    const admin = await this.client(MAINTENANCE_DATABASE);
    await admin.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
  }

  async counters(database: string): Promise<Counters> {
    const admin = await this.client(MAINTENANCE_DATABASE);
    const { rows } = await admin.query<{ statements: string; wal: string }>(
      `SELECT coalesce(sum(calls), 0)::text AS statements, (pg_current_wal_lsn() - '0/0')::text AS wal
         FROM pg_stat_statements
         JOIN pg_database ON pg_database.oid = dbid
        WHERE datname = $1 AND strpos(query, $2) = 0`,
      [database, PROBE],
    );
    return {
      statements: Number(rows[0]?.statements),
      walBytes: Number(rows[0]?.wal),
      postgresCpuMs:
        this.postmaster === undefined ? undefined : await postgresCpuMs(this.postmaster),
    };
  }

  /** The number that a contestant's own query counts. */
  async count(database: string, sql: string): Promise<number> {
    const client = await this.client(database);
    const { rows } = await client.query<{ count: string }>(
      `SELECT ${PROBE} (${sql})::text AS count`,
    );
    return Number(rows[0]?.count);
  }

  async run(database: string, statements: readonly string[]): Promise<void> {
    const client = await this.client(database);
    for (const statement of statements) await client.query(statement);
  }

  /** What the server remembers of the statements that were run in a database, the dearest first. */
  async statements(database: string): Promise<StatementRow[]> {
    const admin = await this.client(MAINTENANCE_DATABASE);
    const { rows } = await admin.query<StatementRow>(
      `SELECT query, calls::int, rows::int,
              mean_plan_time * 1000 AS "planUs", plans::int, mean_exec_time * 1000 AS "execUs",
              wal_bytes::float8 / calls AS "walBytes", shared_blks_hit::float8 / calls AS blocks
         FROM pg_stat_statements
         JOIN pg_database ON pg_database.oid = dbid
        WHERE datname = $1 AND strpos(query, $2) = 0
        ORDER BY total_exec_time + total_plan_time DESC
        LIMIT 12`,
      [database, PROBE],
    );
    return rows;
  }

  async forgetStatements(): Promise<void> {
    const admin = await this.client(MAINTENANCE_DATABASE);
    await admin.query('SELECT pg_stat_statements_reset()');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.clients.values()].map((client) => client.end()));
    await this.own?.stop();
  }

  private async client(database: string): Promise<pg.Client> {
    const known = this.clients.get(database);
    if (known) return known;
    const client = new pg.Client(this.url(database));
    client.on('error', () => undefined); // its database is dropped under it
    this.clients.set(database, client);
    await client.connect();
    return client;
  }
}

export interface StatementRow {
  readonly query: string;
  readonly calls: number;
  readonly rows: number;
  readonly plans: number;
  readonly planUs: number;
  readonly execUs: number;
  readonly walBytes: number;
  readonly blocks: number;
}

async function startOwn(planning: boolean): Promise<EmbeddedPostgres> {
  const bin = await systemBinaries();
  const options = {
    directory: DIRECTORY,
    settings: { ...SETTINGS, 'pg_stat_statements.track_planning': planning ? 'on' : 'off' },
    preload: ['pg_stat_statements'],
    ...(bin !== undefined && { binDirectory: bin }),
  };
  const server = await EmbeddedPostgres.start(options);
  if (!server.adopted) return server;
  await server.stop(); // left behind by a run that was killed, perhaps with other settings
  return EmbeddedPostgres.start(options);
}

/** The system's own server if there is one: built for this machine. Otherwise the npm package of the workspace. */
async function systemBinaries(): Promise<string | undefined> {
  for (const directory of await systemBinDirectories()) {
    const exists = await access(join(directory, 'initdb')).then(
      () => true,
      () => false,
    );
    if (exists) return directory;
  }
  return undefined;
}

async function postmasterOf({ dataDirectory }: EmbeddedPostgres): Promise<number> {
  return Number.parseInt(await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8'), 10);
}
