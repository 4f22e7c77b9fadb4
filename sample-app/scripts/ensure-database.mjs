// Gives the sample shop its database: the one of DATABASE_URL, else one on an embedded PostgreSQL; migrated either way.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { applyMigrations } from './apply-migrations.mjs';

const ROOT = new URL('../../', import.meta.url);
const DATABASE = 'shop';

/**
 * @param {(line: string) => void} say
 * @returns {Promise<{ url: string, release: () => Promise<void> }>} release stops an embedded server nobody else uses
 */
export async function ensureDatabase(say) {
  const dotenv = fileURLToPath(new URL('.env', ROOT));
  if (existsSync(dotenv)) process.loadEnvFile(dotenv);
  const database = process.env.DATABASE_URL
    ? givenDatabase(process.env.DATABASE_URL)
    : await embeddedDatabase(say);
  try {
    const applied = await applyMigrations(database.url, new URL('prisma/migrations/', ROOT));
    for (const migration of applied) say(`Applied the shop's migration ${migration}`);
    return database;
  } catch (error) {
    await database.release();
    throw new Error(
      `The database is not ready (${database.origin}): ${error.message || error.code}`,
      {
        cause: error,
      },
    );
  }
}

function givenDatabase(url) {
  return { url, origin: 'given by DATABASE_URL', release: async () => undefined };
}

async function embeddedDatabase(say) {
  const { EmbeddedPostgres } = await import('../../dist/libs/embedded-postgres/index.js');
  const directory = fileURLToPath(new URL('.postgres/shop', ROOT));
  const server = await EmbeddedPostgres.start({ directory, log: say });
  await server.createDatabase(DATABASE);
  say(`Data is in ${server.dataDirectory}; set DATABASE_URL to use a server of your own`);
  return {
    url: server.url(DATABASE),
    origin: `embedded, ${server.dataDirectory}`,
    release: async () => {
      const stopped = await server.stop({ onlyIfUnused: true });
      say(stopped ? 'PostgreSQL stopped' : 'PostgreSQL is still in use and goes on');
    },
  };
}
