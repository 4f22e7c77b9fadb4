/** Lists of workflows, the newest first, a page at a time. */
import { InvalidArgumentError } from '../core/errors.js';
import { WORKFLOW_STATUSES, type WorkflowStatus } from '../core/status.js';
import type { WorkflowRepository } from '../repository/workflow-repository.js';
import { statusReport, type WorkflowStatusReport } from './status-report.js';
import type { OutcomeCodec } from './outcome.js';

export interface ListQuery {
  /** Only workflows in this status. Default: in any. */
  readonly status?: WorkflowStatus;
  /** Most workflows of the page, 1 to 1,000. Default 50. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly after?: string;
}

export interface WorkflowPageReport {
  readonly workflows: WorkflowStatusReport[];
  /** Where the next page begins; absent on the last one. */
  readonly next?: string;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1_000;

/** @throws InvalidArgumentError */
export async function listWorkflows(
  repository: WorkflowRepository,
  codec: OutcomeCodec,
  query: ListQuery,
): Promise<WorkflowPageReport> {
  const { status, limit, after } = checked(query);
  const statuses = status === undefined ? WORKFLOW_STATUSES : [status];
  // One more than asked for tells whether there is a next page.
  const found = await repository.list({
    statuses,
    limit: limit + 1,
    ...(after !== undefined && { before: after }),
  });
  const page = found.slice(0, limit);
  const last = page.at(-1);
  return {
    workflows: page.map((record) => statusReport(record, codec)),
    ...(found.length > limit && last && { next: last.seq }),
  };
}

function checked({
  status,
  limit = DEFAULT_LIMIT,
  after,
}: ListQuery): ListQuery & { limit: number } {
  if (status !== undefined && !WORKFLOW_STATUSES.includes(status)) {
    throw new InvalidArgumentError(`status must be one of ${WORKFLOW_STATUSES.join(', ')}.`);
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new InvalidArgumentError(
      `limit must be a whole number from 1 to ${MAX_LIMIT}, not ${String(limit)}.`,
    );
  }
  if (after !== undefined && !/^\d{1,18}$/.test(after)) {
    throw new InvalidArgumentError('after must be the `next` of the page before.');
  }
  return { limit, ...(status !== undefined && { status }), ...(after !== undefined && { after }) };
}
