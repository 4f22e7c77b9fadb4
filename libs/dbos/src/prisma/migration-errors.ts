/** What can go wrong with the library's tables, and the way out of each. */
import { DbosError } from '../core/errors.js';

/** The database lacks tables or columns that this build needs, and migrating at start is switched off. */
export class SchemaBehindError extends DbosError {
  readonly code = 'DBOS_SCHEMA_BEHIND';

  constructor(readonly pending: readonly string[]) {
    super(
      `The tables of nestjs-dbos are missing or out of date in this database (pending: ${pending.join(', ')}), ` +
        'and `migrate: false` forbids changing them at start. There are three ways out: ' +
        '(1) set `migrate: true` in DbosModule.forRoot(); ' +
        '(2) run `npx nestjs-dbos migrate` before the application starts; ' +
        '(3) review the output of `npx nestjs-dbos sql` and apply it yourself, ' +
        'or run `prisma migrate deploy` with the migrations that the package brings.',
    );
  }
}

/** A migration that was applied differs from the one of the same name in this build. */
export class MigrationEditedError extends DbosError {
  readonly code = 'DBOS_MIGRATION_EDITED';

  constructor(readonly migration: string) {
    super(
      `Migration "${migration}" was applied to this database in another wording than this build of nestjs-dbos has, ` +
        'so its tables may not be the expected ones. Nothing was changed. ' +
        'Use the build that applied it, or compare `npx nestjs-dbos sql` with the tables in schema "dbos".',
    );
  }
}

/** The database refused a migration. Nothing of it was kept; the next attempt begins it anew. */
export class MigrationFailedError extends DbosError {
  readonly code = 'DBOS_MIGRATION_FAILED';

  constructor(
    readonly migration: string,
    reason: string,
    cause: unknown,
  ) {
    super(
      `Migration "${migration}" of nestjs-dbos failed: ${reason}. Nothing of it was kept. ` +
        'Remove the cause and start again. If this role may not create tables, ' +
        'run `npx nestjs-dbos migrate` as one that may, and start with `migrate: false`.',
      { cause },
    );
  }
}

/** Somebody else has held Prisma Migrate's lock for too long. */
export class MigrationLockedError extends DbosError {
  readonly code = 'DBOS_MIGRATION_LOCKED';

  constructor(
    readonly holderPid: number | undefined,
    holder: string,
    cause: unknown,
  ) {
    super(
      `Another process holds the migration lock of this database: ${holder}. ` +
        'It is migrating, or stuck. Wait for it and start again, or end its session with ' +
        `SELECT pg_terminate_backend(${holderPid ?? '<pid>'}).`,
      { cause },
    );
  }
}

/** The SQL files are not where the package keeps them, usually because a bundler left them behind. */
export class MigrationFilesMissingError extends DbosError {
  readonly code = 'DBOS_MIGRATION_FILES_MISSING';

  constructor(directory: URL, cause: unknown) {
    super(
      `The migrations of nestjs-dbos are not in ${directory.href}. ` +
        'If you bundle your application, leave nestjs-dbos out of the bundle, or copy its folder prisma/migrations too.',
      { cause },
    );
  }
}
