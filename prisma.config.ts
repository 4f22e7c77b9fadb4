/**
 * Prisma's settings for the sample shop: its own models and its own migrations. The library's tables are in a schema
 * that sample.prisma does not list, so that no command of Prisma ever touches them; they have a history of their own,
 * see prisma/dbos.config.ts.
 */
import { existsSync } from 'node:fs';
import { defineConfig } from 'prisma/config';

// Prisma 7 no longer reads .env by itself.
if (existsSync('.env')) process.loadEnvFile('.env');

// These commands want Prisma's schema engine to exist, but never run it: without this they would download it first,
// and fail on a closed network. Any file will do. Migrate does run it and must not get a stand-in: it would report
// success without having done anything.
const ENGINE_FREE_COMMANDS = ['generate', 'validate', 'format'];
if (ENGINE_FREE_COMMANDS.some((command) => process.argv.includes(command))) {
  process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath;
}

export default defineConfig({
  schema: 'prisma/sample.prisma',
  migrations: { path: 'prisma/migrations' },
  // Only Migrate connects; generating the client needs no database.
  datasource: { url: process.env.DATABASE_URL ?? '' },
});
