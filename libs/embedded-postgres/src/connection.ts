// The few statements this library sends to a server: is it up, make a database, is anyone else connected.
import pg from 'pg';
import { LOOPBACK } from './free-port.js';
import { SUPERUSER } from './cluster.js';

export interface Address {
  readonly port: number;
  readonly password: string;
}

export function connectionUrl({ port, password }: Address, database: string): string {
  return `postgresql://${SUPERUSER}:${password}@${LOOPBACK}:${port}/${encodeURIComponent(database)}`;
}

/** Where the server at this address keeps its data; fails as long as it does not accept connections. */
export async function dataDirectoryAt(address: Address): Promise<string> {
  return withClient(address, async (client) => {
    const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
    return rows[0]?.data_directory ?? '';
  });
}

export async function createDatabaseIfMissing(address: Address, database: string): Promise<void> {
  await withClient(address, async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [
      database,
    ]);
    if (rowCount !== 0) return;
    await client
      .query(`CREATE DATABASE ${pg.escapeIdentifier(database)}`)
      .catch((error: unknown) => {
        // Somebody else was faster.
        const code = error instanceof pg.DatabaseError ? error.code : undefined;
        if (code !== '42P04' && code !== '23505') throw error;
      });
  });
}

export async function hasOtherClients(address: Address): Promise<boolean> {
  return withClient(address, async (client) => {
    const { rowCount } = await client.query(
      `SELECT FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        LIMIT 1`,
    );
    return rowCount !== 0;
  });
}

async function withClient<T>(
  address: Address,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    host: LOOPBACK,
    port: address.port,
    user: SUPERUSER,
    password: address.password,
    database: 'postgres',
    // Stated, because pg would otherwise obey the caller's PGSSLMODE.
    ssl: false,
    connectionTimeoutMillis: 5_000,
  });
  // A server that goes away during a statement reports that to the statement; the event alone would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
