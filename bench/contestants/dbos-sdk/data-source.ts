/**
 * `PrismaDataSource`, brought together with the SDK. Its newest version (5.1.10) asks SDK 5.3.0 for three functions that
 * are gone there; all they did was to make its table at the launch. They are put back, with the SDK's own text of the
 * table; no step ever calls them.
 */
import { createRequire } from 'node:module';
import { getDataSourceMigrationsPG } from '@dbos-inc/dbos-sdk/datasource';

Object.assign(createRequire(import.meta.url)('@dbos-inc/dbos-sdk/datasource') as object, {
  checkSchemaInstallationPG: () => 'SELECT false AS schema_exists, false AS table_exists',
  createTransactionCompletionSchemaPG: (schema: string) => `CREATE SCHEMA IF NOT EXISTS ${schema}`,
  createTransactionCompletionTablePG: (schema: string) => getDataSourceMigrationsPG(schema).join(),
});

export { PrismaDataSource } from '@dbos-inc/prisma-datasource';
