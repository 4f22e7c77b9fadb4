/** Lists of workflows in the order of their arrival, a page at a time. */
import { InvalidArgumentError } from '../core/errors.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { ListedWorkflow, ListingRepository } from '../repository/listing-repository.js';
import { workflowFilter, type WorkflowQuery } from './listing-filter.js';
import type { OutcomeCodec } from './outcome.js';
import { statusReport, type WorkflowStatusReport } from './status-report.js';
import { shown } from '../core/shown.js';

export interface ListQuery extends WorkflowQuery {
  /** Default `newest` first. */
  readonly order?: 'newest' | 'oldest';
  /** Most workflows of the page, 1 to 1,000. Default 50. */
  readonly limit?: number;
  /** The `next` of the page before, of the same query. */
  readonly after?: string;
  /** Whether the arguments are given as well. Default false. */
  readonly loadInput?: boolean;
  /** Whether the results are given as well. Default false. */
  readonly loadOutput?: boolean;
}

export interface ListedWorkflowReport extends WorkflowStatusReport {
  /** The arguments, with `loadInput`; the stored text when they cannot be decoded here. */
  readonly input?: unknown;
  /** The result, with `loadOutput`, of one that succeeded; the stored text when it cannot be decoded here. */
  readonly output?: unknown;
}

export interface WorkflowPageReport {
  readonly workflows: ListedWorkflowReport[];
  /** Where the next page begins; absent on the last one. */
  readonly next?: string;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1_000;
/** A page that is not full after so many looks is given as it is; a look sees some thousand workflows. */
export const MAX_LOOKS = 500;

/** @throws InvalidArgumentError */
export async function listWorkflows(
  listings: ListingRepository,
  codec: OutcomeCodec,
  query: ListQuery,
): Promise<WorkflowPageReport> {
  const { limit, ...checked } = checkedQuery(query);
  let found: ListedWorkflow[] = [];
  let place = query.after;
  let breadth = limit + 1; // enough where everything matches
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    // One more than asked for tells whether there is a next page.
    const look = { ...checked, limit: limit + 1 - found.length, breadth };
    const looked = await listings.list({ ...look, ...(place !== undefined && { after: place }) });
    breadth = Number.POSITIVE_INFINITY;
    found = [...found, ...looked.found];
    if (found.length > limit) return page(found.slice(0, limit), codec, found[limit - 1]?.seq);
    if (looked.reached === undefined) return page(found, codec, undefined);
    place = looked.reached;
  }
  return page(found, codec, place);
}

function page(
  found: readonly ListedWorkflow[],
  codec: OutcomeCodec,
  next: string | undefined,
): WorkflowPageReport {
  const workflows = found.map((record) => ({
    ...statusReport(record, codec),
    ...(record.input && { input: decoded(record.input, codec) }),
    ...(record.output && { output: decoded(record.output, codec) }),
  }));
  return { workflows, ...(next !== undefined && { next }) };
}

/** One row that cannot be decoded must not hide the others. */
function decoded(value: EncodedValue, { serializers }: OutcomeCodec): unknown {
  try {
    return serializers.decode(value);
  } catch {
    return value.text;
  }
}

function checkedQuery(query: ListQuery) {
  const { order = 'newest', limit = DEFAULT_LIMIT, loadInput = false, loadOutput = false } = query;
  if (order !== 'newest' && order !== 'oldest')
    throw new InvalidArgumentError("order must be 'newest' or 'oldest'.");
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new InvalidArgumentError(
      `limit must be a whole number from 1 to ${MAX_LIMIT}, not ${shown(limit)}.`,
    );
  }
  assertPlace(query.after);
  return { filter: workflowFilter(query), order, limit, loadInput, loadOutput };
}

/** @throws InvalidArgumentError */
export function assertPlace(after: unknown): void {
  if (after !== undefined && !(typeof after === 'string' && /^\d{1,18}$/.test(after)))
    throw new InvalidArgumentError('after must be the `next` of the page before.');
}
