/**
 * Points Prisma Migrate at the library's own history instead of the application's:
 *
 *   npx prisma migrate status --config prisma/dbos.config.ts
 *   npx prisma migrate deploy --config prisma/dbos.config.ts
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'prisma/config';

if (existsSync('.env')) process.loadEnvFile('.env');

export default defineConfig({
  schema: fileURLToPath(new URL('dbos.prisma', import.meta.url)),
  migrations: {
    path: fileURLToPath(new URL('../libs/dbos/src/prisma/migrations', import.meta.url)),
  },
  datasource: { url: inDbosSchema(process.env.DATABASE_URL) },
});

/** With `?schema=dbos` Prisma keeps its books in dbos._prisma_migrations, apart from the application's own. */
function inDbosSchema(databaseUrl: string | undefined): string {
  if (!databaseUrl) throw new Error('Set DATABASE_URL to the database whose dbos schema you mean.');
  const url = new URL(databaseUrl);
  url.searchParams.set('schema', 'dbos');
  return url.href;
}
