// Reads the marks of the bodies, the rows and the lives of the processes, and says what of it breaks a promise.
import type { Life } from './chaos-process.js';
import type { Mark } from './marks.js';
import type { Promised } from './workload.js';

export type Broken =
  | 'outcome'
  | 'stuck'
  | 'lost'
  | 'repeated'
  | 'simultaneous'
  | 'transaction'
  | 'limit'
  | 'deduplication'
  | 'tick'
  | 'fence'
  | 'exit'
  | 'acceptance'
  | 'liveness';

export interface Violation {
  readonly promise: Broken;
  readonly what: string;
}

export interface Row {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly output: string | null;
  readonly error: string | null;
  /** Milliseconds of the machine's clock. */
  readonly completedAt: number | null;
}

export interface Evidence {
  readonly marks: readonly Mark[];
  readonly lives: readonly Life[];
  readonly rows: readonly Row[];
  /** How often the table of transactions names each `workflow step`. */
  readonly booked: ReadonlyMap<string, number>;
  readonly promised: ReadonlyMap<string, Promised>;
  readonly accepted: ReadonlySet<string>;
  /** Workflows that were cancelled and resumed: a body that is at work then goes on, and another run begins it anew. */
  readonly resumed: ReadonlySet<string>;
  readonly leaseMs: number;
}

/** A body from its first mark to its last, or to where its process could not be known to live any more. */
export interface Run {
  readonly mark: Mark;
  readonly until: number;
}

const LIMITS: Readonly<Record<string, (run: Mark) => string>> = {
  global: () => 'all',
  worker: ({ pid }) => String(pid),
  parts: ({ partition }) => String(partition),
  single: ({ partition }) => String(partition),
};
const MOST: Readonly<Record<string, number>> = { global: 3, worker: 2, parts: 1, single: 1 };

/**
 * What a woken process had begun before it was stopped, between its look at the lease and the mark, is marked as soon as
 * it wakes.
 */
const WAKING_MS = 250;

export function violationsOf(evidence: Evidence): Violation[] {
  const runs = runsOf(evidence);
  return [
    ...outcomeViolations(evidence),
    ...repetitions(evidence),
    ...simultaneousBodies(runs.filter(({ mark }) => !evidence.resumed.has(mark.workflow))),
    ...brokenLimits(runs),
    ...transactionViolations(evidence),
    ...tickViolations(evidence),
    ...evidence.lives.flatMap(({ pid, unexpectedEnd }) =>
      unexpectedEnd === undefined
        ? []
        : [{ promise: 'exit' as const, what: `process ${pid} ${unexpectedEnd}` }],
    ),
  ];
}

function outcomeViolations({ rows, promised, accepted }: Evidence): Violation[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const found: Violation[] = [];
  for (const id of accepted)
    if (!byId.has(id)) found.push({ promise: 'lost', what: `${id} was accepted and is gone` });
  for (const row of rows) {
    const { id, status, output, error } = row;
    if (['PENDING', 'ENQUEUED', 'DELAYED', 'SUSPENDED'].includes(status)) {
      found.push({ promise: 'stuck', what: `${id} is ${status}` });
      continue;
    }
    const expected = promised.get(id);
    const isRight =
      expected === undefined
        ? status === 'SUCCESS'
        : status === expected.status &&
          (status !== 'SUCCESS' || expected.outputs.some((one) => JSON.stringify(one) === output));
    if (!isRight)
      found.push({
        promise: 'outcome',
        what: `${id} is ${status} with ${output ?? error}, not ${JSON.stringify(expected)}`,
      });
  }
  return found;
}

/**
 * A workflow takes its steps in order, each only once the one before it is durable. So a body that begins after a later
 * step's, or after the outcome, was run again although its checkpoint had been committed.
 */
function repetitions({ marks, lives, rows }: Evidence): Violation[] {
  const ends = new Map(rows.map(({ id, completedAt }) => [id, completedAt ?? Infinity]));
  const byPid = new Map(lives.map((life) => [life.pid, life]));
  const furthest = new Map<string, Mark>();
  const found: Violation[] = [];
  for (const mark of marks) {
    if (mark.kind !== 'begin' || isOnce(mark.workflow)) continue;
    const { workflow, step, pid, at } = mark;
    const later = furthest.get(workflow);
    const isRepeated = (later && later.step > step) || at > (ends.get(workflow) ?? Infinity) + 1;
    if (isRepeated && !isWaking(byPid.get(pid), at))
      found.push({
        promise: 'repeated',
        what: `${workflow} step ${step} began at ${at} in ${pid}, after step ${later?.step} had at ${later?.at} in ${later?.pid}; ended ${ends.get(workflow)}`,
      });
    if (!later || step > later.step) furthest.set(workflow, mark);
  }
  return [...found, ...inputsOfOnce(marks)];
}

/** Its steps bear the numbers of its inputs. */
const isOnce = (workflow: string): boolean => workflow.includes('-duplicates-');

function inputsOfOnce(marks: readonly Mark[]): Violation[] {
  const inputs = new Map<string, Set<number>>();
  for (const { workflow, step } of marks)
    if (isOnce(workflow)) inputs.set(workflow, (inputs.get(workflow) ?? new Set()).add(step));
  return [...inputs]
    .filter(([, steps]) => steps.size > 1)
    .map(([id, steps]) => ({
      promise: 'repeated' as const,
      what: `${id} ran with the inputs ${[...steps].join(', ')}`,
    }));
}

const isWaking = (life: Life | undefined, at: number): boolean =>
  life?.absences.some(({ until }) => at >= until - WAKING_MS && at <= until + WAKING_MS) ?? false;

/** A body counts for as long as its process was there for others; what goes on after that, owns nothing any more. */
function runsOf({ marks, lives }: Evidence): Run[] {
  const byPid = new Map(lives.map((life) => [life.pid, life]));
  const open = new Map<string, Mark>();
  const runs: Run[] = [];
  const close = (mark: Mark, endedAt: number): void => {
    const life = byPid.get(mark.pid);
    const absent = (life?.absences ?? []).filter(({ until }) => until >= mark.at);
    if (absent.some(({ from }) => from <= mark.at)) return;
    const limits = [endedAt, life?.endedAt ?? Infinity, ...absent.map(({ from }) => from)];
    runs.push({ mark, until: Math.min(...limits) });
  };
  for (const mark of marks) {
    const key = `${mark.pid} ${mark.workflow} ${mark.step}`;
    const before = open.get(key);
    if (mark.kind === 'begin') {
      if (before) close(before, mark.at); // a try that was rolled back
      open.set(key, mark);
    } else if (before) {
      close(before, mark.at);
      open.delete(key);
    }
  }
  // Without an end, it was given up at some moment that nobody knows.
  for (const mark of open.values()) close(mark, mark.at);
  return runs;
}

function overlaps(runs: readonly Run[], most: number): Run[] {
  const atWork: Run[] = [];
  return [...runs]
    .sort((one, other) => one.mark.at - other.mark.at)
    .filter((run) => {
      const still = atWork.filter(({ until }) => until > run.mark.at);
      atWork.splice(0, atWork.length, ...still, run);
      return atWork.length > most;
    });
}

function simultaneousBodies(runs: readonly Run[]): Violation[] {
  return [...grouped(runs, ({ mark }) => mark.workflow)].flatMap(([id, ofOne]) =>
    overlaps(ofOne, 1).map(({ mark }) => ({
      promise: 'simultaneous' as const,
      what: `two bodies of ${id} at once, at ${mark.at} in ${mark.pid}`,
    })),
  );
}

function brokenLimits(runs: readonly Run[]): Violation[] {
  return Object.entries(LIMITS).flatMap(([queue, keyOf]) => {
    const ofQueue = runs.filter(({ mark }) => mark.queue === queue);
    return [...grouped(ofQueue, ({ mark }) => keyOf(mark))].flatMap(([key, group]) =>
      overlaps(group, MOST[queue] ?? 1).map(({ mark }) => ({
        promise: queue === 'single' ? ('deduplication' as const) : ('limit' as const),
        what: `more than ${MOST[queue]} of ${queue} ${key} at work at ${mark.at}, with ${mark.workflow}`,
      })),
    );
  });
}

function transactionViolations({ rows, promised, booked }: Evidence): Violation[] {
  const found: Violation[] = [];
  const ofWorkflow = new Map<string, number>();
  for (const [key, count] of booked) {
    const [id = ''] = key.split(' ');
    ofWorkflow.set(id, (ofWorkflow.get(id) ?? 0) + count);
    if (count !== 1)
      found.push({ promise: 'transaction', what: `${key} was booked ${count} times` });
  }
  for (const { id, status } of rows) {
    const expected = promised.get(id)?.rows ?? 0;
    const is = ofWorkflow.get(id) ?? 0;
    if (status === 'SUCCESS' && is !== expected)
      found.push({ promise: 'transaction', what: `${id} has ${is} rows, not ${expected}` });
  }
  return found;
}

/** One workflow for each second from the first to the last; that it ended well is looked at with the others. */
function tickViolations({ rows }: Evidence): Violation[] {
  const ticks = rows
    .filter(({ id }) => id.startsWith('sched-tick-'))
    .map(({ id }) => Date.parse(id.slice('sched-tick-'.length)))
    .sort((one, other) => one - other);
  return ticks
    .slice(1)
    .flatMap((tick, index) =>
      tick - (ticks[index] ?? 0) === 1_000
        ? []
        : [{ promise: 'tick' as const, what: `no tick between ${ticks[index]} and ${tick}` }],
    );
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
