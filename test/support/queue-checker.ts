// Reads what was written down of queues, claims, bodies and the ends of processes, and says what of it breaks a
// promise. Knows nothing of how the library keeps them.
import type { LoggedChange, QueueChange, RateCount, WorkflowChange } from './queue-log.js';

/** Moments are microseconds of the database's clock. */
export interface Body {
  readonly workflowId: string;
  readonly pid: number;
  readonly begunAt: number;
  /** Undefined when its process ended before it did. */
  readonly endedAt: number | undefined;
}

/** A process that was killed or stopped. */
export interface ProcessEnd {
  readonly pid: number;
  readonly how: 'killed' | 'stopped';
  /** Until then it was alive for sure. */
  readonly at: number;
}

export interface EndedWorkflow {
  readonly id: string;
  readonly status: string;
  readonly output: string | null;
  readonly expected: string;
  /** How many bodies it has. */
  readonly bodies: number;
}

export interface Evidence {
  readonly log: readonly LoggedChange[];
  readonly bodies: readonly Body[];
  readonly ends: readonly ProcessEnd[];
  readonly workflows: readonly EndedWorkflow[];
  /** When each workflow was known to be on its queue: its enqueuing had been answered by then. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** Workflows that somebody tried to cancel. */
  readonly cancelled: ReadonlySet<string>;
}

export type Promised =
  | 'concurrency'
  | 'workerConcurrency'
  | 'partition concurrency'
  | 'rate'
  | 'pause'
  | 'order'
  | 'deduplication'
  | 'once'
  | 'outcome';

export interface Violation {
  readonly promise: Promised;
  readonly what: string;
}

const MS = 1_000;

/**
 * A commit becomes visible a moment after what it commits is logged. Whatever was not acknowledged counts as known to
 * others only this much later; far more than any commit takes here.
 */
const COMMIT_TIME = 1_000 * MS;

/**
 * Bodies begin later than they were claimed, each by another delay, and two that were claimed a period apart begin closer
 * together by as much as the first was late: the way of the answer, the reading of a history after a take-over, the entry
 * in the ledger. What is later than this tells of a machine without time, and is left out of the windows.
 */
const START_TOLERANCE = 50 * MS;

/** A body, the claim that brought it, and until when it was at work for sure. */
interface Run {
  readonly body: Body;
  readonly claim: WorkflowChange;
  readonly until: number;
}

interface QueueState {
  settings: QueueChange | undefined;
  readonly pending: Map<string, WorkflowChange>;
}

export function violationsOf(evidence: Evidence): Violation[] {
  return [
    ...claimViolations(evidence.log),
    ...rateViolations(evidence.log),
    ...orderViolations(evidence),
    ...deduplicationViolations(evidence.log),
    ...bodyViolations(evidence),
    ...outcomeViolations(evidence),
  ];
}

const isClaim = ({ from, to }: WorkflowChange): boolean => to === 'PENDING' && from !== 'PENDING';

const isWorkflow = (change: LoggedChange): change is WorkflowChange => change.kind === 'workflow';

/** Whether claims on it exclude each other, so that their order is one. */
function takesTurns(settings: QueueChange | undefined): boolean {
  return (
    settings !== undefined &&
    [
      settings.concurrency,
      settings.rateLimit,
      settings.partitionConcurrency,
      settings.partitionRateLimit,
    ].some((limit) => limit !== null)
  );
}

/**
 * Each claim against the limits in force at its moment, by what is claimed and has not left. What one process may have at
 * work is told by the bodies alone: it takes the next while the outcome of the last is written.
 */
function claimViolations(log: readonly LoggedChange[]): Violation[] {
  const queues = new Map<string, QueueState>();
  const violations: Violation[] = [];
  for (const change of log) {
    if (change.kind === 'rate') continue;
    const state = stateOf(queues, change.queue);
    if (change.kind === 'queue') state.settings = change;
    else if (!isClaim(change)) state.pending.delete(change.id);
    else {
      state.pending.set(change.id, change);
      violations.push(...violationsOfClaim(change, state));
    }
  }
  return violations;
}

function stateOf(queues: Map<string, QueueState>, queue: string): QueueState {
  const state = queues.get(queue) ?? { settings: undefined, pending: new Map() };
  queues.set(queue, state);
  return state;
}

function violationsOfClaim(claim: WorkflowChange, { settings, pending }: QueueState): Violation[] {
  if (!settings) return [];
  const { queue, partition, id } = claim;
  const atWork = [...pending.values()];
  const found: Violation[] = [];
  const check = (promise: Promised, count: number, limit: number | null): void => {
    if (limit === null || count <= limit) return;
    found.push({ promise, what: `${count} claimed of ${limit} on ${queue} with ${id}` });
  };
  if (settings.paused) found.push({ promise: 'pause', what: `${id} claimed of ${queue}` });
  check('concurrency', atWork.length, settings.concurrency);
  if (partition === null) return found;
  check(
    'partition concurrency',
    atWork.filter((other) => other.partition === partition).length,
    settings.partitionConcurrency,
  );
  return found;
}

interface RateLimited {
  readonly limit: number;
  readonly period: number;
}

function rateOf(settings: QueueChange, ofPartition: boolean): RateLimited | undefined {
  const limit = ofPartition ? settings.partitionRateLimit : settings.rateLimit;
  const periodMs = ofPartition ? settings.partitionRatePeriodMs : settings.ratePeriodMs;
  return limit === null || periodMs === null ? undefined : { limit, period: periodMs * MS };
}

/** No window as long as the period holds more than the limit. `moments` in order; a limit counts from its setting on. */
function windowViolations(
  moments: readonly { readonly at: number; readonly count: number }[],
  { limit, period }: RateLimited,
  what: string,
): Violation[] {
  const found: Violation[] = [];
  let first = 0;
  let inWindow = 0;
  for (const { at, count } of moments) {
    inWindow += count;
    while (moments[first]!.at <= at - period) inWindow -= moments[first++]!.count;
    if (inWindow > limit) found.push({ promise: 'rate', what: `${inWindow} of ${limit} ${what}` });
  }
  return found;
}

/** Claims by the moments that were counted, and whether all of them were. */
function rateViolations(log: readonly LoggedChange[]): Violation[] {
  const found: Violation[] = [];
  for (const era of erasOf(log)) {
    for (const ofPartition of [false, true]) {
      const rate = rateOf(era.settings, ofPartition);
      if (!rate) continue;
      const counts = era.changes.filter(
        (change): change is RateCount =>
          change.kind === 'rate' && (change.partition !== null) === ofPartition,
      );
      for (const [partition, ofOne] of groupedBy(counts, (count) => count.partition ?? '')) {
        const moments = ofOne.map(({ claimedAt, claims }) => ({ at: claimedAt, count: claims }));
        moments.sort((a, b) => a.at - b.at);
        found.push(...windowViolations(moments, rate, `claims on ${era.queue} ${partition}`));
      }
      const counted = counts.reduce((sum, { claims }) => sum + claims, 0);
      const claimed = era.changes.filter((change) => isWorkflow(change) && isClaim(change)).length;
      if (counted !== claimed)
        found.push({ promise: 'rate', what: `${counted} counted of ${claimed} on ${era.queue}` });
    }
  }
  return found;
}

/** A stretch of the log of one queue during which its rate limits were the same. */
interface Era {
  readonly queue: string;
  readonly settings: QueueChange;
  readonly changes: LoggedChange[];
}

function erasOf(log: readonly LoggedChange[]): Era[] {
  const current = new Map<string, Era>();
  const eras: Era[] = [];
  const rates = (settings: QueueChange): string =>
    JSON.stringify([rateOf(settings, false), rateOf(settings, true)]);
  for (const change of log) {
    const era = current.get(change.queue);
    const isSame = era && (change.kind !== 'queue' || rates(change) === rates(era.settings));
    if (isSame) {
      era.changes.push(change);
    } else if (change.kind === 'queue') {
      const next = { queue: change.queue, settings: change, changes: [] };
      current.set(change.queue, next);
      eras.push(next);
    }
  }
  return eras;
}

/** What waits, and since when every claim knows of it. */
interface Waiting {
  readonly change: WorkflowChange;
  readonly knownAt: number;
}

/** Claims that exclude each other take the first that waits, by priority and then by order of insertion. */
function orderViolations({ log, acknowledged }: Evidence): Violation[] {
  const found: Violation[] = [];
  const waiting = new Map<string, Waiting>();
  const settings = new Map<string, QueueChange>();
  const changesById = groupedBy(log.filter(isWorkflow), ({ id }) => id);
  for (const change of log) {
    if (change.kind === 'queue') settings.set(change.queue, change);
    if (change.kind !== 'workflow') continue;
    if (change.to === 'ENQUEUED') {
      const isNew = change.from === null && acknowledged.has(change.id);
      const knownAt = isNew ? acknowledged.get(change.id)! : change.at + COMMIT_TIME;
      waiting.set(change.id, { change, knownAt });
      continue;
    }
    waiting.delete(change.id);
    if (!isClaim(change) || !takesTurns(settings.get(change.queue))) continue;
    for (const other of waiting.values()) {
      if (!comesBefore(other.change, change) || other.knownAt > change.begunAt) continue;
      // In the same claim it comes next; and what somebody else has a hold on is passed by.
      const next = changesById.get(other.change.id)!.find(({ n }) => n > change.n);
      const isPassedBy = next && (next.tx === change.tx || next.at < change.at + COMMIT_TIME);
      if (isPassedBy && !(isClaim(next) && next.tx !== change.tx)) continue;
      found.push({ promise: 'order', what: `${change.id} before ${other.change.id}` });
    }
  }
  return found;
}

function comesBefore(one: WorkflowChange, other: WorkflowChange): boolean {
  if (one.queue !== other.queue || one.partition !== other.partition) return false;
  return one.priority < other.priority || (one.priority === other.priority && one.seq < other.seq);
}

const ACTIVE = new Set(['ENQUEUED', 'DELAYED', 'PENDING', 'SUSPENDED']);

/** Never two of a queue at once under one deduplication id that have not ended. */
function deduplicationViolations(log: readonly LoggedChange[]): Violation[] {
  const found: Violation[] = [];
  const active = new Map<string, Set<string>>();
  for (const { id, queue, deduplicationId, to } of log.filter(isWorkflow)) {
    if (deduplicationId === null) continue;
    const key = `${queue} ${deduplicationId}`;
    const ids = active.get(key) ?? new Set<string>();
    active.set(key, ids);
    if (ACTIVE.has(to)) ids.add(id);
    else ids.delete(id);
    if (ids.size > 1)
      found.push({ promise: 'deduplication', what: `${[...ids].join(', ')} as ${key}` });
  }
  return found;
}

function bodyViolations({ log, bodies, ends, workflows, cancelled }: Evidence): Violation[] {
  const endOf = new Map(ends.map((end) => [end.pid, end]));
  const claims = groupedBy(log.filter(isWorkflow).filter(isClaim), ({ id }) => id);
  const found: Violation[] = [];
  const runs: Run[] = [];
  for (const body of bodies) {
    const claim = claims.get(body.workflowId)?.findLast(({ at }) => at <= body.begunAt);
    const end = endOf.get(body.pid);
    if (!claim) {
      found.push({ promise: 'once', what: `${body.workflowId} begun without a claim` });
      continue;
    }
    if (body.endedAt === undefined && end?.how !== 'killed')
      found.push({ promise: 'once', what: `${body.workflowId} left behind by ${body.pid}` });
    const untilEnd = body.endedAt ?? Number.POSITIVE_INFINITY;
    runs.push({
      body,
      claim,
      until: end?.how === 'killed' ? Math.min(untilEnd, end.at) : untilEnd,
    });
  }
  // A body whose workflow is cancelled hears of it at its next step, and counts no more from the cancel on.
  const counted = runs.filter(({ body }) => !cancelled.has(body.workflowId));
  return [
    ...found,
    ...repetitions(runs, { endOf, workflows }),
    ...liveBodyViolations(log, counted),
    ...startViolations(log, runs),
  ];
}

/** A body runs again only when the process of an earlier run was killed or stopped, and never twice at once. */
function repetitions(
  runs: readonly Run[],
  given: {
    readonly endOf: ReadonlyMap<number, ProcessEnd>;
    readonly workflows: readonly EndedWorkflow[];
  },
): Violation[] {
  const found: Violation[] = [];
  const ofWorkflows = groupedBy(runs, ({ body }) => body.workflowId);
  for (const { id, bodies } of given.workflows) {
    const ofOne = ofWorkflows.get(id) ?? [];
    const excused = ofOne.filter(({ body }) => given.endOf.has(body.pid)).length;
    if (ofOne.length > bodies + excused)
      found.push({ promise: 'once', what: `${id} has ${ofOne.length} bodies` });
    const byBeginning = [...ofOne].sort((a, b) => a.body.begunAt - b.body.begunAt);
    byBeginning.forEach(({ until }, index) => {
      const next = byBeginning[index + 1];
      if (next && next.body.begunAt < until)
        found.push({ promise: 'once', what: `${id} twice at once` });
    });
  }
  return found;
}

/** At every instant, by the limits in force when the last of those at work was claimed. */
function liveBodyViolations(log: readonly LoggedChange[], runs: readonly Run[]): Violation[] {
  const found: Violation[] = [];
  const settings = groupedBy(
    log.filter((change) => change.kind === 'queue'),
    ({ queue }) => queue,
  );
  for (const [queue, ofQueue] of groupedBy(runs, ({ claim }) => claim.queue)) {
    const byBeginning = [...ofQueue].sort((a, b) => a.body.begunAt - b.body.begunAt);
    let live: Run[] = [];
    for (const run of byBeginning.filter(({ body, until }) => until > body.begunAt)) {
      live = [...live.filter(({ until }) => until > run.body.begunAt), run];
      const check = (promise: Promised, of: Run[], limit: keyof QueueChange): void => {
        const last = Math.max(...of.map(({ claim }) => claim.n));
        const inForce = settings.get(queue)?.findLast(({ n }) => n < last)?.[limit] ?? null;
        if (inForce === null || of.length <= Number(inForce)) return;
        const ids = of.map(({ body }) => `${body.workflowId} (${body.pid})`).join(', ');
        found.push({ promise, what: `${of.length} bodies of ${inForce} on ${queue}: ${ids}` });
      };
      check('concurrency', live, 'concurrency');
      const ofProcess = live.filter(({ body }) => body.pid === run.body.pid);
      check('workerConcurrency', ofProcess, 'workerConcurrency');
      const ofPartition = live.filter(({ claim }) => claim.partition === run.claim.partition);
      if (run.claim.partition !== null)
        check('partition concurrency', ofPartition, 'partitionConcurrency');
    }
  }
  return found;
}

/** The first bodies of claims, in any window. */
function startViolations(log: readonly LoggedChange[], runs: readonly Run[]): Violation[] {
  const firstRuns = new Map<number, Run>();
  for (const run of [...runs].sort((a, b) => a.body.begunAt - b.body.begunAt))
    if (!firstRuns.has(run.claim.n)) firstRuns.set(run.claim.n, run);
  const found: Violation[] = [];
  for (const era of erasOf(log)) {
    const starts = era.changes.flatMap((change) => firstRuns.get(change.n) ?? []);
    const inTime = starts.filter((run) => delayOf(run) <= START_TOLERANCE);
    for (const ofPartition of [false, true]) {
      const rate = rateOf(era.settings, ofPartition);
      if (!rate) continue;
      const shorter = { ...rate, period: rate.period - START_TOLERANCE };
      const key = ({ claim }: Run): string => (ofPartition ? (claim.partition ?? '') : '');
      for (const [partition, ofOne] of groupedBy(inTime, key)) {
        const moments = ofOne.map(({ body }) => ({ at: body.begunAt, count: 1 }));
        moments.sort((a, b) => a.at - b.at);
        found.push(...windowViolations(moments, shorter, `starts on ${era.queue} ${partition}`));
      }
    }
  }
  return found;
}

const delayOf = ({ body, claim }: Run): number => body.begunAt - claim.at;

/** How long after their claims bodies began, half of them and all but one in a hundred; milliseconds. */
export function startDelays({ log, bodies }: Evidence): { median: number; p99: number } {
  const claims = groupedBy(log.filter(isWorkflow).filter(isClaim), ({ id }) => id);
  const first = new Map<number, number>();
  for (const { workflowId, begunAt } of bodies) {
    const claim = claims.get(workflowId)?.findLast(({ at }) => at <= begunAt);
    if (claim && !first.has(claim.n)) first.set(claim.n, (begunAt - claim.at) / MS);
  }
  const delays = [...first.values()];
  return { median: quantileOf(delays, 0.5), p99: quantileOf(delays, 0.99) };
}

function quantileOf(values: readonly number[], share: number): number {
  const inOrder = [...values].sort((a, b) => a - b);
  return inOrder[Math.floor(inOrder.length * share)] ?? 0;
}

function outcomeViolations({ workflows, acknowledged, cancelled }: Evidence): Violation[] {
  const ids = new Set(workflows.map(({ id }) => id));
  const lost = [...acknowledged.keys()].filter((id) => !ids.has(id));
  const isRight = ({ id, status, output, expected }: EndedWorkflow): boolean =>
    status === 'CANCELLED' ? cancelled.has(id) : status === 'SUCCESS' && output === expected;
  const wrong = workflows.filter((workflow) => !isRight(workflow));
  return [
    ...lost.map((id) => ({ promise: 'outcome' as const, what: `${id} is gone` })),
    ...wrong.map(({ id, status, output, expected }) => ({
      promise: 'outcome' as const,
      what: `${id} is ${status} with ${output}, not ${expected}`,
    })),
  ];
}

export function groupedBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
