// What the global set-up tells Jest's workers, and they their child processes: where the server is, whose run this is.

export interface TestRun {
  /** Connection string with which databases are created and dropped. */
  readonly adminUrl: string;
  /** Begins the names of all databases of this run, and is the application name of its keep-alive connection. */
  readonly prefix: string;
  /** The database that every test database is a copy of. */
  readonly template: string;
  /** What CREATE DATABASE says to copy it, after the name. */
  readonly copyClause: string;
}

const VARIABLE = 'NESTJS_DBOS_TEST_RUN';

/** Begins the prefixes of all runs. */
export const PREFIX = 'dbos_test_';

export function announceTestRun(run: TestRun): void {
  process.env[VARIABLE] = JSON.stringify(run);
}

export function currentTestRun(): TestRun {
  const announced = process.env[VARIABLE];
  if (announced === undefined) {
    throw new Error(
      `${VARIABLE} is not set: start the tests with 'npm test' or 'npm run test:only -- <file>'.`,
    );
  }
  return JSON.parse(announced) as TestRun;
}

/** The same server, another database. `schema` is Prisma's own parameter and would narrow its search path. */
export function databaseUrl(adminUrl: string, database: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  url.searchParams.delete('schema');
  return url.href;
}
