/** What the command line can do; every command is a question or a request to the migrator. */
import { InvalidArgumentError } from '../core/errors.js';
import { grantsFor } from '../prisma/grants.js';
import { withMigrationTarget } from '../prisma/migrate-database.js';
import {
  migrate,
  migrationSql,
  migrationStatus,
  type MigrationStatus,
} from '../prisma/migrator.js';
import type { MigrationSet } from '../prisma/migration-files.js';
import { displayName } from './database-url.js';

export interface CommandOptions {
  readonly pending: boolean;
  readonly set: MigrationSet;
  /** Whose rights. */
  readonly role: string | undefined;
  /** Asked for only by commands that need a database. */
  databaseUrl(): string;
}

export interface CommandResult {
  readonly text: string;
  readonly data: unknown;
  readonly upToDate: boolean;
}

export interface Command {
  readonly summary: string;
  run(options: CommandOptions): Promise<CommandResult>;
}

export const COMMANDS = {
  migrate: {
    summary: 'creates or updates the tables of nestjs-dbos (schema "dbos")',
    run: applyPending,
  },
  status: {
    summary: 'says whether the tables are up to date; exit code 1 if they are not',
    run: showStatus,
  },
  sql: {
    summary: 'prints the SQL of the migrations, to review it or to run it by hand',
    run: printSql,
  },
  grants: {
    summary: 'prints the SQL that allows --role to run workflows, and no more',
    run: printGrants,
  },
} satisfies Record<string, Command>;

async function applyPending(options: CommandOptions): Promise<CommandResult> {
  const url = options.databaseUrl();
  const { applied } = await withMigrationTarget(url, (target) =>
    migrate(target, { set: options.set }),
  );
  const lines = applied.map((name) => `  applied  ${name}`);
  return {
    text: page(`Tables of nestjs-dbos in ${displayName(url)}`, ...lines, '  up to date'),
    data: { applied },
    upToDate: true,
  };
}

async function showStatus(options: CommandOptions): Promise<CommandResult> {
  const url = options.databaseUrl();
  const status = await statusOf(url, options.set);
  return {
    text: page(`Tables of nestjs-dbos in ${displayName(url)}`, ...describeStatus(status)),
    data: status,
    upToDate: !('pending' in status),
  };
}

function describeStatus(status: MigrationStatus): string[] {
  if ('pending' in status) {
    const state = status.state === 'missing' ? 'not there yet' : 'out of date';
    return [
      ...status.pending.map((name) => `  pending  ${name}`),
      `  ${state}: run 'npx nestjs-dbos migrate'`,
    ];
  }
  const newer = 'unknown' in status ? status.unknown : [];
  return [
    ...newer.map((name) => `  newer    ${name} (this version can work with it)`),
    '  up to date',
  ];
}

async function printSql(options: CommandOptions): Promise<CommandResult> {
  const names = options.pending ? await pendingIn(options) : undefined;
  const sql =
    names?.length === 0 ? '-- Nothing is pending.\n' : await migrationSql(names, options.set);
  return { text: sql, data: { sql }, upToDate: true };
}

async function printGrants({ role }: CommandOptions): Promise<CommandResult> {
  if (!role || role.includes('\0')) {
    throw new InvalidArgumentError(
      'Whose rights? Give --role, the role that the application runs as.',
    );
  }
  const sql = grantsFor(role);
  return { text: sql, data: { sql }, upToDate: true };
}

function statusOf(url: string, set: MigrationSet): Promise<MigrationStatus> {
  return withMigrationTarget(url, (target) => migrationStatus(target, set));
}

async function pendingIn(options: CommandOptions): Promise<readonly string[]> {
  const status = await statusOf(options.databaseUrl(), options.set);
  return 'pending' in status ? status.pending : [];
}

function page(...lines: string[]): string {
  return `${lines.join('\n')}\n`;
}
