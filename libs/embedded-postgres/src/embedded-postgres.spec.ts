// Tells what the embedded server promises: found again, one for all, gone when stopped.
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { EmbeddedPostgres } from './embedded-postgres.js';

let directory: string;
const started: EmbeddedPostgres[] = [];

async function start(): Promise<EmbeddedPostgres> {
  const server = await EmbeddedPostgres.start({ directory, settings: { fsync: 'off' } });
  started.push(server);
  return server;
}

async function query(server: EmbeddedPostgres, sql: string): Promise<unknown[]> {
  const client = new pg.Client(server.url('shop'));
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

async function postmasterPid(server: EmbeddedPostgres): Promise<number> {
  return Number.parseInt(await readFile(join(server.dataDirectory, 'postmaster.pid'), 'utf8'), 10);
}

async function killPostmaster(server: EmbeddedPostgres): Promise<number> {
  const pid = await postmasterPid(server);
  process.kill(pid, 'SIGKILL');
  return pid;
}

beforeAll(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'embedded-postgres-')), 'data');
  // Open to pass through, for the account that the server runs under when we are root.
  await chmod(dirname(directory), 0o755);
  const server = await start();
  await server.createDatabase('shop');
  await query(server, 'CREATE TABLE orders AS SELECT 42 AS id');
});

afterAll(async () => {
  await started[0]?.stop();
  await rm(dirname(directory), { recursive: true, force: true });
});

describe('An embedded PostgreSQL', () => {
  it('is adopted by whoever starts it again', async () => {
    const pid = await postmasterPid(await start());
    const adopted = await start();
    expect(adopted.adopted).toBe(true);
    expect(await postmasterPid(adopted)).toBe(pid);
  });

  it('creates a database once, however often it is asked', async () => {
    const server = await start();
    await Promise.all([1, 2, 3].map(() => server.createDatabase('asked "often"')));
    const names = await query(
      server,
      `SELECT datname FROM pg_database WHERE datname LIKE 'asked%'`,
    );
    expect(names).toEqual(['asked "often"']);
  });

  it('has its data, its port and its password again after kill -9', async () => {
    const killed = await start();
    await killPostmaster(killed);
    const again = await start();
    expect(again.adopted).toBe(false);
    expect(again.url('shop')).toBe(killed.url('shop'));
    expect(await query(again, 'SELECT id FROM orders')).toEqual([42]);
  });

  it('starts although its old process number belongs to somebody else by now', async () => {
    const killed = await start();
    await killPostmaster(killed);
    const pidFile = join(killed.dataDirectory, 'postmaster.pid');
    const [, ...rest] = (await readFile(pidFile, 'utf8')).split('\n');
    await writeFile(pidFile, [process.pid, ...rest].join('\n'));
    const again = await start();
    expect(await query(again, 'SELECT id FROM orders')).toEqual([42]);
  });

  it('is one server for all who start it at the same moment', async () => {
    await killPostmaster(await start());
    const servers = await Promise.all([start(), start(), start()]);
    expect(new Set(servers.map((server) => server.url('shop'))).size).toBe(1);
    expect(servers.filter((server) => !server.adopted)).toHaveLength(1);
  });

  it('goes on while somebody else is connected, if asked to', async () => {
    const server = await start();
    const client = new pg.Client(server.url('shop'));
    await client.connect();
    expect(await server.stop({ onlyIfUnused: true })).toBe(false);
    expect((await client.query('SELECT 1')).rowCount).toBe(1);
    await client.end();
  });

  it('is started by the next one when the holder of the start lock has died', async () => {
    const server = await start();
    const lock = join(dirname(server.dataDirectory), 'start.lock');
    await writeFile(lock, JSON.stringify({ token: 'dead', pid: 2 ** 22 + 1, host: hostname() }));
    expect((await start()).adopted).toBe(true);
  });

  it('stops, and stopping it twice is no error', async () => {
    const server = await start();
    expect(await server.stop()).toBe(true);
    expect(await server.stop()).toBe(true);
    await expect(query(server, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
  });

  it('listens on loopback only', async () => {
    const server = await start();
    expect(await query(server, 'SHOW listen_addresses')).toEqual(['127.0.0.1']);
    expect(await query(server, 'SHOW unix_socket_directories')).toEqual(['']);
  });
});
