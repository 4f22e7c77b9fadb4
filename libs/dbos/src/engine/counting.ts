/** Counts of workflows, by what they have in common. */
import { durationMs, type Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import type { WorkflowStatus } from '../core/status.js';
import type {
  Grouping,
  ListingRepository,
  WorkflowGroup,
} from '../repository/listing-repository.js';
import { workflowFilter, type WorkflowQuery } from './listing-filter.js';
import { assertPlace, MAX_LOOKS } from './listing.js';

export interface CountQuery extends WorkflowQuery {
  /** Default: none, and one group of all. */
  readonly groupBy?: Grouping | readonly Grouping[];
  /** Counts apart what was created in each period of this length, at least a second; they begin at the epoch, in UTC. */
  readonly bucket?: Duration;
  /** The `next` of the counts before, of the same query. */
  readonly after?: string;
}

/** Workflows that are alike in what they are grouped by. */
export interface WorkflowCount {
  readonly status?: WorkflowStatus;
  readonly name?: string;
  readonly queue?: string | null;
  readonly executorId?: string | null;
  readonly applicationVersion?: string | null;
  /** Where its period begins. */
  readonly bucket?: Date;
  readonly count: number;
  /** When the first and the last of them were created. */
  readonly oldest: Date;
  readonly newest: Date;
  /** The longest wait between creation and start; null when none has started. */
  readonly longestWaitMs: number | null;
  /** The longest time between creation and end; null when none has ended. */
  readonly longestMs: number | null;
}

export interface WorkflowCounts {
  readonly total: number;
  /** The largest first; with buckets, the earliest first. */
  readonly groups: WorkflowCount[];
  /** Only the newest were counted, some millions; where to go on. Add up what both calls tell. */
  readonly next?: string;
}

const GROUPINGS: readonly Grouping[] = [
  'status',
  'name',
  'queue',
  'executorId',
  'applicationVersion',
];
const MIN_BUCKET_MS = 1_000;

/** @throws InvalidArgumentError */
export async function countWorkflows(
  listings: ListingRepository,
  query: CountQuery,
): Promise<WorkflowCounts> {
  const { groupBy, bucketMs, filter } = checked(query);
  const groups = new Map<string, WorkflowGroup>();
  const next = await throughLooks(query.after, async (from) => {
    const { found, reached } = await listings.count({ filter, groupBy, bucketMs, ...from });
    for (const group of found) add(groups, group);
    return reached;
  });
  const counted = largestFirst([...groups.values()]);
  return {
    total: counted.reduce((all, { count }) => all + count, 0),
    groups: counted.map((group) => report(group, groupBy)),
    ...(next !== undefined && { next }),
  };
}

/** One look after the other, until all is counted or it is enough for one call; returns where to go on then. */
export async function throughLooks(
  after: string | undefined,
  look: (from: { readonly after?: string }) => Promise<string | undefined>,
): Promise<string | undefined> {
  let place = after;
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    place = await look(place === undefined ? {} : { after: place });
    if (place === undefined) break;
  }
  return place;
}

/** The earliest period first, and of each the largest. */
export function largestFirst<
  Group extends { readonly bucket: Date | null; readonly count: number },
>(groups: readonly Group[]): Group[] {
  return groups.toSorted(
    (a, b) => (a.bucket?.getTime() ?? 0) - (b.bucket?.getTime() ?? 0) || b.count - a.count,
  );
}

/** @throws InvalidArgumentError */
export function checkedBucketMs(bucket: Duration | undefined): number | undefined {
  const bucketMs = bucket === undefined ? undefined : durationMs('bucket', bucket);
  if (bucketMs !== undefined && bucketMs < MIN_BUCKET_MS)
    throw new InvalidArgumentError(`bucket must be at least ${MIN_BUCKET_MS} ms.`);
  return bucketMs;
}

function checked({ groupBy = [], bucket, after, ...query }: CountQuery) {
  const groups = typeof groupBy === 'string' ? [groupBy] : groupBy;
  const unknown = groups.find((group) => !GROUPINGS.includes(group));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`groupBy must be of ${GROUPINGS.join(', ')}, not ${unknown}.`);
  }
  const bucketMs = checkedBucketMs(bucket);
  assertPlace(after);
  return { groupBy: groups, bucketMs, filter: workflowFilter(query) };
}

function add(groups: Map<string, WorkflowGroup>, more: WorkflowGroup): void {
  const { status, name, queue, executorId, applicationVersion, bucket } = more;
  const key = JSON.stringify([status, name, queue, executorId, applicationVersion, bucket]);
  const group = groups.get(key);
  groups.set(key, group ? sum(group, more) : more);
}

function sum(one: WorkflowGroup, other: WorkflowGroup): WorkflowGroup {
  return {
    ...one,
    count: one.count + other.count,
    oldest: one.oldest < other.oldest ? one.oldest : other.oldest,
    newest: one.newest > other.newest ? one.newest : other.newest,
    longestWaitMs: longest(one.longestWaitMs, other.longestWaitMs),
    longestMs: longest(one.longestMs, other.longestMs),
  };
}

function longest(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.max(one, other);
}

function report(group: WorkflowGroup, groupBy: readonly Grouping[]): WorkflowCount {
  const { bucket, count, oldest, newest, longestWaitMs, longestMs } = group;
  return {
    ...Object.fromEntries(groupBy.map((field) => [field, group[field]])),
    ...(bucket && { bucket }),
    count,
    oldest,
    newest,
    longestWaitMs,
    longestMs,
  };
}
