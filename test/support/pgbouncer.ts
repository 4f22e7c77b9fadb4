// A pgbouncer in transaction mode before the test server: each transaction may come to another of its connections.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findPort } from '../../libs/embedded-postgres/src/free-port.js';
import { eventually } from './eventually.js';

export class PgBouncer {
  private constructor(
    private readonly directory: string,
    private readonly process: ChildProcess,
    /** Leads to the same database as the URL it was started with. */
    readonly url: string,
  ) {}

  /** Whether this machine has one. */
  static isInstalled(): boolean {
    return spawnSync('pgbouncer', ['--version'], { stdio: 'ignore' }).status === 0;
  }

  /** @param poolSize its connections to the server */
  static async start(url: string, poolSize: number): Promise<PgBouncer> {
    const directory = await mkdtemp(join(tmpdir(), 'nestjs-dbos-pgbouncer-'));
    await chmod(directory, 0o755); // it reads its configuration as another user when a test runs as root
    const port = await findPort(join(directory, 'port'));
    const config = join(directory, 'pgbouncer.ini');
    await writeFile(config, configuration({ url: new URL(url), port, poolSize }), { mode: 0o644 });
    const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
    const child = spawn('pgbouncer', [...asUser, config], { stdio: 'ignore' });
    const bouncer = new PgBouncer(directory, child, bouncedUrl(url, port));
    await bouncer.answers();
    return bouncer;
  }

  async stop(): Promise<void> {
    const exit = once(this.process, 'exit');
    this.process.kill('SIGINT');
    await exit;
    await rm(this.directory, { recursive: true, force: true });
  }

  private async answers(): Promise<void> {
    await eventually(async () => {
      const client = new pg.Client({ connectionString: this.url });
      await client.connect();
      await client.end();
    });
  }
}

function configuration({ url, port, poolSize }: { url: URL; port: number; poolSize: number }) {
  const database = decodeURIComponent(url.pathname.slice(1));
  const secret = url.password ? ` password=${decodeURIComponent(url.password)}` : '';
  const server = `host=${url.hostname} port=${url.port || '5432'} user=${decodeURIComponent(url.username)}${secret}`;
  return `
[databases]
${database} = ${server} dbname=${database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
`;
}

function bouncedUrl(url: string, port: number): string {
  const bounced = new URL(url);
  bounced.hostname = '127.0.0.1';
  bounced.port = String(port);
  return bounced.href;
}
