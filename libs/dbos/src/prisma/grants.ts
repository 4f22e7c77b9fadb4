/** What the role of a running application must be allowed, as a script for the owner of the tables. */
import pg from 'pg';

/**
 * Rows of the library's tables, and its functions: neither the tables themselves nor the books of the migrations. Later
 * migrations by whoever runs the script are covered.
 */
export function grantsFor(role: string): string {
  const name = pg.escapeIdentifier(role);
  return `\
-- What ${name} needs to run workflows, and no more. Run it as the role that migrates, once; it may be repeated.
BEGIN;
GRANT USAGE ON SCHEMA dbos TO ${name};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dbos TO ${name};
REVOKE INSERT, UPDATE, DELETE ON dbos._prisma_migrations FROM ${name};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA dbos TO ${name};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dbos TO ${name};
-- And of what later migrations of this role will make:
ALTER DEFAULT PRIVILEGES IN SCHEMA dbos GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${name};
ALTER DEFAULT PRIVILEGES IN SCHEMA dbos GRANT USAGE ON SEQUENCES TO ${name};
ALTER DEFAULT PRIVILEGES IN SCHEMA dbos GRANT EXECUTE ON FUNCTIONS TO ${name};
COMMIT;
`;
}
