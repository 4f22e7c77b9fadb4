/** Prisma's settings: only `prisma generate` is run here, which needs neither a database nor the schema engine. */
import { defineConfig } from 'prisma/config';

// Without a file of that name Prisma would download the engine that it does not use.
process.env['PRISMA_SCHEMA_ENGINE_BINARY'] ??= process.execPath;

export default defineConfig({ schema: 'prisma/schema.prisma' });
