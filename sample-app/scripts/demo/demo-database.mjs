// A database of the demo's own, beside the shop's: a shop that runs meanwhile takes none of its orders.
import pg from 'pg';
import { applyMigrations } from '../apply-migrations.mjs';

const NAME = 'nestjs_dbos_demo';
const MIGRATIONS = new URL('../../../prisma/migrations/', import.meta.url);

/**
 * New at every run; what the last run left can be looked at until then.
 * @param {string} shopUrl any database of the server
 * @returns {Promise<string>} its URL
 */
export async function createDemoDatabase(shopUrl) {
  const client = new pg.Client({ connectionString: shopUrl, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    // Without FORCE: a demo that runs already is not to be disturbed.
    await client.query(`DROP DATABASE IF EXISTS ${NAME}`);
    await client.query(`CREATE DATABASE ${NAME}`);
  } catch (error) {
    throw new Error(`The demo needs a database of its own, ${NAME}: ${error.message}`, {
      cause: error,
    });
  } finally {
    await client.end();
  }
  const url = new URL(shopUrl);
  url.pathname = `/${NAME}`;
  await applyMigrations(url.href, MIGRATIONS);
  return url.href;
}
