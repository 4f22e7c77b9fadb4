/** Why an archive of workflows is not taken in; each time nothing was written. */
import { DbosError } from './errors.js';

/** What was given is no archive of workflows, or is damaged. */
export class ArchiveFormatError extends DbosError {
  readonly code = 'DBOS_ARCHIVE_FORMAT';

  constructor(fault: string, options?: ErrorOptions) {
    super(
      `The archive cannot be imported: ${fault}. Give what workflows.export() has given, whole and unchanged.`,
      options,
    );
  }
}

/** The archive was made by a later version of the library. */
export class ArchiveVersionError extends DbosError {
  readonly code = 'DBOS_ARCHIVE_VERSION';

  constructor(
    readonly version: number,
    readonly knownVersion: number,
  ) {
    super(
      `The archive has version ${version} of the format, and this application knows versions up to ${knownVersion}. ` +
        'Import it with a later version of nestjs-dbos.',
    );
  }
}

/** Ids of the archive belong to other workflows here. */
export class ArchiveConflictError extends DbosError {
  readonly code = 'DBOS_ARCHIVE_CONFLICT';

  constructor(
    readonly workflowIds: readonly string[],
    what: string,
  ) {
    super(
      `Nothing was imported, for ${what} here: ${workflowIds.map((id) => `"${id}"`).join(', ')}. ` +
        'Look whether these are the same; delete those that are here, or import without them.',
    );
  }
}

/** Workflows of the archive have not ended: run here as well, they would do everything twice. */
export class ArchiveUnfinishedError extends DbosError {
  readonly code = 'DBOS_ARCHIVE_UNFINISHED';

  constructor(readonly workflowIds: readonly string[]) {
    super(
      `Nothing was imported, for these workflows have not ended: ${workflowIds.map((id) => `"${id}"`).join(', ')}. ` +
        "Where they can run no more where they were exported, import with { unfinished: 'enqueue' }: they go on here.",
    );
  }
}
