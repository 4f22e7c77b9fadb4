// The life of a test run on its server: open it with a fresh template, close it with nothing left behind.
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { connectAdmin, withAdmin } from './admin-connection.js';
import { dropDatabase } from './database.js';
import { prepareTemplate } from './template.js';
import { announceTestRun, databaseUrl, PREFIX, type TestRun } from './test-run.js';
import { startTestServer, type TestServer } from './test-server.js';

export interface OpenTestRun {
  close(): Promise<void>;
}

/** Another run may stop the shared server between our adopting it and our connecting. */
const CONNECT_ATTEMPTS = 3;

export async function openTestRun(): Promise<OpenTestRun> {
  const prefix = PREFIX + randomBytes(4).toString('hex');
  const { server, keepAlive } = await connectToServer(prefix);
  const close = async (): Promise<void> => {
    await withAdmin(server.adminUrl, (client) => dropDatabases(client, `${prefix}_`));
    await keepAlive.end();
    await server.release();
  };
  try {
    if (server.ours) await removeLeftovers(keepAlive);
    announceTestRun(await createTemplate(server, prefix));
    return { close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** While this connection lives, other runs know that this one does. */
async function connectToServer(
  prefix: string,
): Promise<{ server: TestServer; keepAlive: pg.Client }> {
  for (let attempt = 1; ; attempt += 1) {
    const server = await startTestServer();
    try {
      return { server, keepAlive: await connectAdmin(server.adminUrl, prefix) };
    } catch (error) {
      if (!server.ours) {
        // Jest prints no causes, hence the reason in the message.
        throw new Error(`DATABASE_URL is set, but its server refuses: ${String(error)}`, {
          cause: error,
        });
      }
      if (attempt >= CONNECT_ATTEMPTS) throw error;
    }
  }
}

async function createTemplate({ adminUrl, ours }: TestServer, prefix: string): Promise<TestRun> {
  const template = `${prefix}_template`;
  const quoted = pg.escapeIdentifier(template);
  await withAdmin(adminUrl, (client) => client.query(`CREATE DATABASE ${quoted}`));
  await prepareTemplate(databaseUrl(adminUrl, template));
  return withAdmin(adminUrl, async (client) => {
    // Somebody connected to it would make every copy fail.
    await client.query(`ALTER DATABASE ${quoted} ALLOW_CONNECTIONS false`);
    const strategy = ours && (await knowsStrategies(client)) ? 'STRATEGY FILE_COPY' : '';
    return { adminUrl, prefix, template, copyClause: `TEMPLATE ${quoted} ${strategy}` };
  });
}

/**
 * Copying files takes a third of the time of the default, which sends every page through the log. It also makes two
 * checkpoints, cheap with our fsync=off and dear on a server that is not ours. PostgreSQL 14 has the one way only.
 */
async function knowsStrategies(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ known: boolean }>(
    `SELECT current_setting('server_version_num')::int >= 150000 AS known`,
  );
  return rows[0]?.known === true;
}

/** Databases of runs that were killed: no keep-alive connection bears their prefix any more. */
async function removeLeftovers(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ datname: string }>(
    `SELECT datname FROM pg_database
      WHERE starts_with(datname, $1)
        AND NOT EXISTS (SELECT FROM pg_stat_activity
                         WHERE starts_with(application_name, $1)
                           AND starts_with(pg_database.datname, application_name || '_'))`,
    [PREFIX],
  );
  for (const { datname } of rows) await dropDatabase(client, datname);
}

async function dropDatabases(client: pg.Client, prefix: string): Promise<void> {
  const { rows } = await client.query<{ datname: string }>(
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [prefix],
  );
  for (const { datname } of rows) await dropDatabase(client, datname);
}
