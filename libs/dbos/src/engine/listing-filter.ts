/** What lists and counts of workflows can be narrowed to, and the checks of it. */
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { WORKFLOW_STATUSES, type WorkflowStatus } from '../core/status.js';
import type { WorkflowFilter } from '../repository/listing-repository.js';
import { jsonAttributes } from './starter.js';

/**
 * Which workflows; what is left out is not looked at. Where a list is taken, any of it matches. Of two moments the first
 * is included, the second is not.
 */
export interface WorkflowQuery {
  readonly ids?: readonly string[];
  readonly idPrefix?: string;
  readonly status?: WorkflowStatus | readonly WorkflowStatus[];
  /** The registered name, such as `CheckoutWorkflow.run`. */
  readonly name?: string | readonly string[];
  readonly queue?: string | readonly string[];
  /** Whether it was put on any queue. */
  readonly onQueue?: boolean;
  /** Who runs it, or ran it last: the id of an executor, or the configured name with which it begins. */
  readonly executorId?: string | readonly string[];
  readonly applicationVersion?: string | readonly string[];
  /** The children of these workflows. */
  readonly parentId?: string | readonly string[];
  readonly hasParent?: boolean;
  /** The forks of these workflows. */
  readonly forkedFrom?: string | readonly string[];
  readonly isFork?: boolean;
  /** Of active workflows and of those that have ended. */
  readonly deduplicationId?: string;
  /** Failed, was set aside, is suspended, or has failed and is tried again. */
  readonly hasError?: boolean;
  /** Contained in those of the workflow (`@>` of JSONB): `{ customer: { tier: 'gold' } }`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** The runs of this schedule. */
  readonly schedule?: string;
  readonly createdAfter?: Date;
  readonly createdBefore?: Date;
  /** First taken up by an executor. */
  readonly startedAfter?: Date;
  readonly startedBefore?: Date;
  readonly completedAfter?: Date;
  readonly completedBefore?: Date;
}

/** Most values of one list in a query. */
const MAX_VALUES = 1_000;
const MOMENTS = [
  'createdAfter',
  'createdBefore',
  'startedAfter',
  'startedBefore',
  'completedAfter',
  'completedBefore',
] as const;
const FLAGS = ['onQueue', 'hasParent', 'isFork', 'hasError'] as const;
/** The last part of the id of a scheduled run, `2026-01-01T00:00:00.000Z`. */
const TICK_LENGTH = 24;

/** @throws InvalidArgumentError naming the field and what it may be */
export function workflowFilter(query: WorkflowQuery): WorkflowFilter {
  const { deduplicationId, attributes } = query;
  return {
    statuses: statuses(query.status),
    ...idFilter(query),
    ...lists(query),
    ...(deduplicationId !== undefined && {
      deduplicationId: assertIdentifier('deduplicationId', deduplicationId),
    }),
    ...(attributes !== undefined && { attributes: jsonAttributes(attributes) }),
    ...flags(query),
    ...moments(query),
  };
}

function idFilter({ ids, idPrefix, schedule }: WorkflowQuery): Partial<WorkflowFilter> {
  if (schedule !== undefined && idPrefix !== undefined)
    throw new InvalidArgumentError('Give a schedule or an idPrefix, not both.');
  const runs = schedule === undefined ? undefined : `sched-${schedule}-`;
  const prefix = runs ?? idPrefix;
  return {
    ...(ids !== undefined && { ids: list('ids', ids) }),
    ...(prefix !== undefined && { idPrefix: assertIdentifier('idPrefix', prefix) }),
    ...(runs !== undefined && { idLength: runs.length + TICK_LENGTH }),
  };
}

function lists(query: WorkflowQuery): Partial<WorkflowFilter> {
  const { name, queue, executorId, applicationVersion, parentId, forkedFrom } = query;
  return {
    ...(name !== undefined && { names: list('name', name) }),
    ...(queue !== undefined && { queues: list('queue', queue) }),
    ...(executorId !== undefined && { executorIds: list('executorId', executorId) }),
    ...(applicationVersion !== undefined && {
      applicationVersions: list('applicationVersion', applicationVersion),
    }),
    ...(parentId !== undefined && { parentIds: list('parentId', parentId) }),
    ...(forkedFrom !== undefined && { forkedFrom: list('forkedFrom', forkedFrom) }),
  };
}

function list(field: string, value: string | readonly string[]): string[] {
  return several(field, value).map((item) => assertIdentifier(field, item));
}

function several<T extends string>(field: string, value: T | readonly T[]): readonly T[] {
  if (typeof value === 'string') return [value];
  const isList: boolean = Array.isArray(value);
  if (isList && value.length <= MAX_VALUES) return value;
  throw new InvalidArgumentError(`${field} must be a text or at most ${MAX_VALUES} texts.`);
}

function statuses(value: WorkflowQuery['status']): readonly WorkflowStatus[] {
  if (value === undefined) return WORKFLOW_STATUSES;
  const asked = several('status', value);
  if (asked.some((status) => !WORKFLOW_STATUSES.includes(status))) {
    throw new InvalidArgumentError(
      `status must be one or more of ${WORKFLOW_STATUSES.join(', ')}.`,
    );
  }
  return [...new Set(asked)];
}

function flags(query: WorkflowQuery): Partial<WorkflowFilter> {
  const given = FLAGS.filter((flag) => query[flag] !== undefined);
  for (const flag of given) {
    if (typeof query[flag] !== 'boolean')
      throw new InvalidArgumentError(`${flag} must be true or false.`);
  }
  return Object.fromEntries(given.map((flag) => [flag, query[flag]]));
}

function moments(query: WorkflowQuery): Partial<WorkflowFilter> {
  const given = MOMENTS.filter((moment) => query[moment] !== undefined);
  for (const moment of given) {
    const value: unknown = query[moment];
    if (!(value instanceof Date) || Number.isNaN(value.getTime()))
      throw new InvalidArgumentError(`${moment} must be a valid Date.`);
  }
  return Object.fromEntries(given.map((moment) => [moment, query[moment]]));
}
