// A PostgreSQL of the run's own, in a folder of its own: to be stopped, killed, starved and locked.
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { EmbeddedPostgres } from '../../libs/embedded-postgres/src/index.js';
import { connectAdmin, withAdmin } from '../support/admin-connection.js';
import { eventually } from '../support/eventually.js';
import type { SmallDisk } from './small-disk.js';

const SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: 200,
  max_wal_size: '64MB', // the log has room on a small disk
  min_wal_size: '32MB',
} as const;

/** Who cancels and resumes, in the record of actions. */
const OPERATOR = 'chaos';

export class ChaosServer {
  private constructor(
    private readonly directory: string,
    private server: EmbeddedPostgres,
    private readonly disk?: SmallDisk,
  ) {}

  static async start(): Promise<ChaosServer> {
    const directory = await mkdtemp(join(tmpdir(), 'dbos-chaos-'));
    await chmod(directory, 0o755); // open to pass through, for the account that the server runs under when we are root
    return new ChaosServer(directory, await ChaosServer.open(directory));
  }

  /** With all that it writes on a disk of its own. */
  static async startOn(disk: SmallDisk): Promise<ChaosServer> {
    return new ChaosServer(disk.directory, await ChaosServer.open(disk.directory), disk);
  }

  private static open(directory: string): Promise<EmbeddedPostgres> {
    return EmbeddedPostgres.start({ directory: join(directory, 'server'), settings: SETTINGS });
  }

  get adminUrl(): string {
    return this.server.url('postgres');
  }

  url(database: string): string {
    return this.server.url(database);
  }

  async begin(): Promise<void> {
    this.server = await ChaosServer.open(this.directory);
  }

  /** Checkpoint and all. */
  async stopFast(): Promise<void> {
    await this.server.stop();
  }

  /** As a crash: what was committed is found again in the log. */
  async stopImmediately(): Promise<void> {
    const file = await readFile(join(this.server.dataDirectory, 'postmaster.pid'), 'utf8');
    const pid = Number.parseInt(file, 10);
    process.kill(pid, 'SIGQUIT');
    await eventually(() => {
      if (isAlive(pid)) throw new Error(`PostgreSQL (${pid}) has not ended.`);
    });
  }

  /** Sets a setting for all sessions that are and will be; undefined takes it back. */
  async set(name: string, value: string | undefined): Promise<void> {
    await withAdmin(this.adminUrl, async (client) => {
      await client.query("SET default_transaction_read_only = 'off'");
      await client.query(
        value === undefined
          ? `ALTER SYSTEM RESET ${name}`
          : `ALTER SYSTEM SET ${name} = ${pg.escapeLiteral(value)}`,
      );
      await client.query('SELECT pg_reload_conf()');
    });
  }

  /** Leaves no byte, and takes what the server gives back, for as long. */
  async fillDisk(forMs: number): Promise<void> {
    const endsAt = performance.now() + forMs;
    while (performance.now() < endsAt) {
      await this.disk?.fill();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** As somebody does who makes room: a server that could not go on is started again. */
  async freeDisk(): Promise<void> {
    await this.disk?.free();
    await this.begin();
  }

  async terminateAll(): Promise<void> {
    await withAdmin(this.adminUrl, (client) =>
      client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      ),
    );
  }

  /** Holds the lock of a table of the engine until it is called. */
  async lock(database: string, table: string): Promise<() => Promise<void>> {
    const client = await connectAdmin(this.url(database), 'dbos-chaos-lock');
    await client.query('SET statement_timeout = 0');
    await client.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
    return async () => {
      await client.end().catch(() => undefined); // a server that went away has released it
    };
  }

  /** Cancels workflows that run now. */
  async cancelSome(database: string, like: string, most: number): Promise<string[]> {
    return withAdmin(this.url(database), async (client) => {
      const { rows } = await client.query<{ id: string }>(
        `SELECT id FROM dbos.cancel_workflows(ARRAY(
           SELECT w.id FROM dbos.workflows w
            WHERE w.status = 'PENDING' AND w.id LIKE $1 ORDER BY md5(w.id) LIMIT $2), false, $3)`,
        [like, most, OPERATOR],
      );
      return rows.map(({ id }) => id);
    });
  }

  async resume(database: string, ids: readonly string[]): Promise<void> {
    await withAdmin(this.url(database), (client) =>
      client.query('SELECT dbos.resume_workflows($1, NULL, $2)', [ids, OPERATOR]),
    );
  }

  async createDatabase(name: string): Promise<void> {
    await this.server.createDatabase(name);
  }

  /** Ends the server, and leaves nothing behind. */
  async close(): Promise<void> {
    await this.server.stop();
    if (this.disk) await this.disk.unmount();
    else await rm(this.directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
