/** Counts of steps, and how long they took, by what they have in common. */
import type { Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type {
  ListingRepository,
  StepGroup,
  StepGrouping,
} from '../repository/listing-repository.js';
import { checkedBucketMs, largestFirst, throughLooks } from './counting.js';
import { workflowFilter, type WorkflowQuery } from './listing-filter.js';
import { assertPlace } from './listing.js';

/** Of which steps: those of all workflows that the filters of lists let through. */
export interface StepCountQuery extends WorkflowQuery {
  /** Names of steps, and of what the library records, such as `flow.sleep`. Default: all. */
  readonly step?: string | readonly string[];
  /** Recorded at this moment or later. It narrows what is counted, not what is looked at: give `createdAfter` besides. */
  readonly stepEndedAfter?: Date;
  /** Recorded before this moment. */
  readonly stepEndedBefore?: Date;
  /** `outcome` tells those that succeeded from those that failed at last. Default: `step`, by their names. */
  readonly groupBy?: StepGrouping | readonly StepGrouping[];
  /** Counts apart what was recorded in each period of this length, at least a second; they begin at the epoch, in UTC. */
  readonly bucket?: Duration;
  /** The `next` of the counts before, of the same query. */
  readonly after?: string;
}

/** Steps that are alike in what they are grouped by. Each counts once, however often its workflow was replayed. */
export interface StepCount {
  readonly step?: string;
  /** The name of the workflow. */
  readonly workflow?: string;
  readonly outcome?: 'succeeded' | 'failed';
  /** Where its period begins. */
  readonly bucket?: Date;
  readonly count: number;
  /** All attempts of theirs: more than `count` where some were tried again. */
  readonly attempts: number;
  /** When the first and the last of them were recorded. */
  readonly oldest: Date;
  readonly newest: Date;
  /** From the beginning of a step to its record, all attempts and the pauses between them included. */
  readonly averageMs: number;
  readonly longestMs: number;
}

export interface StepCounts {
  readonly total: number;
  /** The largest first; with buckets, the earliest first. */
  readonly groups: StepCount[];
  /** Only the steps of the newest workflows were counted, some millions; where to go on. Add up what both calls tell. */
  readonly next?: string;
}

const GROUPINGS: readonly StepGrouping[] = ['step', 'workflow', 'outcome'];
/** Most names of one query. */
const MAX_NAMES = 1_000;

/** @throws InvalidArgumentError */
export async function countSteps(
  listings: ListingRepository,
  query: StepCountQuery,
): Promise<StepCounts> {
  const { after, ...asked } = checked(query);
  const groups = new Map<string, StepGroup>();
  const next = await throughLooks(after, async (from) => {
    const { found, reached } = await listings.countSteps({ ...asked, ...from });
    for (const group of found) add(groups, group);
    return reached;
  });
  const counted = largestFirst([...groups.values()]);
  return {
    total: counted.reduce((all, { count }) => all + count, 0),
    groups: counted.map((group) => report(group, asked.groupBy)),
    ...(next !== undefined && { next }),
  };
}

function checked(query: StepCountQuery) {
  const {
    groupBy = 'step',
    bucket,
    after,
    step,
    stepEndedAfter,
    stepEndedBefore,
    ...workflows
  } = query;
  const groups = typeof groupBy === 'string' ? [groupBy] : groupBy;
  const unknown = groups.find((group) => !GROUPINGS.includes(group));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`groupBy must be of ${GROUPINGS.join(', ')}, not ${unknown}.`);
  assertPlace(after);
  return {
    after,
    groupBy: groups,
    bucketMs: checkedBucketMs(bucket),
    names: step === undefined ? undefined : checkedNames(step),
    endedAfter: checkedMoment('stepEndedAfter', stepEndedAfter),
    endedBefore: checkedMoment('stepEndedBefore', stepEndedBefore),
    filter: workflowFilter(workflows),
  };
}

function checkedNames(step: string | readonly string[]): readonly string[] {
  const names = typeof step === 'string' ? [step] : step;
  if (!Array.isArray(names) || names.length > MAX_NAMES)
    throw new InvalidArgumentError(`step must be a text or at most ${MAX_NAMES} texts.`);
  return names.map((name) => assertIdentifier('step', name));
}

function checkedMoment(field: string, moment: unknown): Date | undefined {
  if (moment === undefined) return undefined;
  if (moment instanceof Date && !Number.isNaN(moment.getTime())) return moment;
  throw new InvalidArgumentError(`${field} must be a valid Date.`);
}

function add(groups: Map<string, StepGroup>, more: StepGroup): void {
  const { step, workflow, outcome, bucket } = more;
  const key = JSON.stringify([step, workflow, outcome, bucket]);
  const group = groups.get(key);
  groups.set(key, group ? sum(group, more) : more);
}

function sum(one: StepGroup, other: StepGroup): StepGroup {
  return {
    ...one,
    count: one.count + other.count,
    attempts: one.attempts + other.attempts,
    oldest: one.oldest < other.oldest ? one.oldest : other.oldest,
    newest: one.newest > other.newest ? one.newest : other.newest,
    totalMs: one.totalMs + other.totalMs,
    longestMs: Math.max(one.longestMs, other.longestMs),
  };
}

function report(group: StepGroup, groupBy: readonly StepGrouping[]): StepCount {
  const { bucket, count, attempts, oldest, newest, totalMs, longestMs } = group;
  return {
    ...Object.fromEntries(groupBy.map((field) => [field, group[field]])),
    ...(bucket && { bucket }),
    count,
    attempts,
    oldest,
    newest,
    averageMs: totalMs / count,
    longestMs,
  };
}
