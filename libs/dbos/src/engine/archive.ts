/** Takes workflows out with their whole history as JSON, and in again. */
import {
  ArchiveConflictError,
  ArchiveFormatError,
  ArchiveUnfinishedError,
  ArchiveVersionError,
} from '../core/archive-errors.js';
import { InvalidArgumentError, RowRefusedError, WorkflowNotFoundError } from '../core/errors.js';
import { isTerminal, WORKFLOW_STATUSES, type WorkflowStatus } from '../core/status.js';
import type {
  ArchivedRow,
  ArchivedWorkflow,
  ArchiveRepository,
  ImportResult,
} from '../repository/archive-repository.js';

/** JSON as it is: `JSON.stringify` keeps it. What stands in the rows is for `workflows.import` only. */
export interface WorkflowArchive {
  readonly format: 'nestjs-dbos/workflows';
  readonly version: number;
  /** ISO 8601, by the clock of the process that exported it. */
  readonly exportedAt: string;
  /** The workflow that was asked for is among them. */
  readonly workflows: readonly ArchivedWorkflow[];
}

export interface ExportOptions {
  /** Whether all its descendants come along. Default false. */
  readonly children?: boolean;
}

export interface ImportOptions {
  /**
   * What becomes of workflows that have not ended. `enqueue` lets them go on here, from their last checkpoint: only where
   * they can run no more where they were exported. Default `refuse`.
   */
  readonly unfinished?: 'refuse' | 'enqueue';
}

export interface ImportReport {
  /** Ids of those that were written now. */
  readonly imported: readonly string[];
  /** Ids of those that were here already, from an earlier import or because they were exported here. */
  readonly present: readonly string[];
  /** Ids of those that go on here. */
  readonly enqueued: readonly string[];
}

const FORMAT = 'nestjs-dbos/workflows';
const VERSION = 1;
/** Most workflows of one archive. */
const MAX_WORKFLOWS = 1_000;
const PARTS = ['steps', 'messages', 'events', 'streams', 'tokens', 'actions'] as const;

/** @throws WorkflowNotFoundError, InvalidArgumentError when there are more than 1,000 */
export async function exportWorkflow(
  archives: ArchiveRepository,
  workflowId: string,
  { children = false }: ExportOptions,
): Promise<WorkflowArchive> {
  const workflows = await archives.export(workflowId, { children, atMost: MAX_WORKFLOWS });
  if (!workflows) throw new WorkflowNotFoundError(workflowId);
  if (workflows.length > MAX_WORKFLOWS) {
    throw new InvalidArgumentError(
      `Workflow "${workflowId}" has ${MAX_WORKFLOWS} descendants or more. Export them in parts.`,
    );
  }
  return { format: FORMAT, version: VERSION, exportedAt: new Date().toISOString(), workflows };
}

/**
 * @throws ArchiveFormatError, ArchiveVersionError, ArchiveUnfinishedError, ArchiveConflictError,
 *   InvalidArgumentError
 */
export async function importWorkflows(
  archives: ArchiveRepository,
  archive: WorkflowArchive,
  { unfinished = 'refuse' }: ImportOptions,
): Promise<ImportReport> {
  if (unfinished !== 'refuse' && unfinished !== 'enqueue')
    throw new InvalidArgumentError("unfinished must be 'refuse' or 'enqueue'.");
  const workflows = checked(archive);
  const active = workflows.filter(({ workflow }) => !isTerminal(statusOf(workflow))).map(idOf);
  if (active.length > 0 && unfinished === 'refuse') throw new ArchiveUnfinishedError(active);
  const results = await write(archives, workflows);
  assertNone(results, 'conflict', 'other workflows have their ids');
  assertNone(results, 'taken', 'active workflows have their deduplication ids');
  const imported = results.filter(({ result }) => result === 'imported').map(({ id }) => id);
  const present = results.filter(({ result }) => result === 'present').map(({ id }) => id);
  return { imported, present, enqueued: imported.filter((id) => active.includes(id)) };
}

async function write(
  archives: ArchiveRepository,
  workflows: readonly ArchivedWorkflow[],
): Promise<ImportResult[]> {
  try {
    return await archives.import(workflows);
  } catch (error) {
    if (!(error instanceof RowRefusedError)) throw error;
    throw new ArchiveFormatError('the database refuses what stands in it', { cause: error });
  }
}

function assertNone(
  results: readonly ImportResult[],
  result: ImportResult['result'],
  what: string,
): void {
  const ids = results.filter((one) => one.result === result).map(({ id }) => id);
  if (ids.length > 0) throw new ArchiveConflictError(ids, what);
}

/** What comes from outside is what it says it is, as far as that can be seen without the database. */
function checked(archive: unknown): ArchivedWorkflow[] {
  if (!isObject(archive) || archive['format'] !== FORMAT)
    throw new ArchiveFormatError(`it is not of the format "${FORMAT}"`);
  const { version, workflows } = archive;
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1)
    throw new ArchiveFormatError('its version is not a whole number from 1');
  if (version > VERSION) throw new ArchiveVersionError(version, VERSION);
  if (!Array.isArray(workflows) || workflows.length > MAX_WORKFLOWS)
    throw new ArchiveFormatError(`its workflows are not a list of at most ${MAX_WORKFLOWS}`);
  const entries = workflows.map(checkedEntry);
  if (new Set(entries.map(idOf)).size < entries.length)
    throw new ArchiveFormatError('it has two workflows with one id');
  return entries;
}

function checkedEntry(entry: unknown, index: number): ArchivedWorkflow {
  const where = `workflows[${index}]`;
  if (!isObject(entry) || !isObject(entry['workflow']))
    throw new ArchiveFormatError(`${where} is not a workflow`);
  const { workflow } = entry;
  for (const field of ['id', 'name', 'serialization', 'input', 'created_at']) {
    if (typeof workflow[field] !== 'string')
      throw new ArchiveFormatError(`${where}.workflow.${field} is not a text`);
  }
  const status = statusOf(workflow);
  if (!WORKFLOW_STATUSES.includes(status))
    throw new ArchiveFormatError(`${where}.workflow.status is not a status`);
  if (isTerminal(status) !== (typeof workflow['completed_at'] === 'string'))
    throw new ArchiveFormatError(`${where}.workflow.completed_at does not fit its status`);
  for (const part of PARTS) {
    const rows: unknown = part === 'actions' ? (entry[part] ?? []) : entry[part];
    if (!Array.isArray(rows) || !rows.every((row) => belongsTo(workflow, row)))
      throw new ArchiveFormatError(
        `${where}.${part} is not a list of what belongs to the workflow`,
      );
  }
  return entry as unknown as ArchivedWorkflow;
}

function belongsTo(workflow: ArchivedRow, row: unknown): boolean {
  return isObject(row) && row['workflow_id'] === workflow['id'];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function idOf({ workflow }: ArchivedWorkflow): string {
  return workflow['id'] as string;
}

function statusOf(workflow: ArchivedRow): WorkflowStatus {
  return workflow['status'] as WorkflowStatus;
}
