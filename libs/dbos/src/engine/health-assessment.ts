/** What is wrong although work goes on: the reasons for `degraded`, each with a code for programs and a sentence. */
import type { HealthOptions } from './engine-options.js';
import type { DatabaseHealth, ProcessHealth } from './health.js';
import type { LoopReport } from './loop.js';
import { remedyOf, strandedSentence } from './stranded.js';

export type HealthProblemCode =
  /** The heartbeat is late: without one the lease runs out, and others take this process for dead. */
  | 'lease-late'
  /** Notifications of other processes do not come in: polling stands in for them. */
  | 'not-listening'
  /** A background duty fails, or has not been done for long. */
  | 'loop-failing'
  | 'loop-late'
  /** One trivial statement takes longer than `health.databaseMs`. */
  | 'database-slow'
  /** Something has waited on a queue for longer than `health.queuedMs`. */
  | 'queue-old'
  /** Workflows cannot go on here: their name is not registered, or their code does not match their history. */
  | 'stranded'
  /** Workflows were set aside as recovered too often. */
  | 'dead-letters';

export interface HealthProblem {
  readonly code: HealthProblemCode;
  /** What is wrong, with which numbers, and what to do. */
  readonly message: string;
}

/** Of a lease: by then two heartbeats are missing. */
const LATE_SHARE = 2 / 3;

export function problemsOfProcess({
  executor,
  notifications,
  loops,
}: ProcessHealth): HealthProblem[] {
  const { leaseAgeMs, leaseMs } = executor;
  const isLate = leaseAgeMs !== null && leaseAgeMs > leaseMs * LATE_SHARE;
  const isDeaf = notifications === 'lost' || notifications === 'deaf';
  return [
    ...when(
      isLate,
      'lease-late',
      () =>
        `The last heartbeat was ${seconds(leaseAgeMs ?? 0)} ago, of a lease of ${seconds(leaseMs)}. Look at the database, ` +
        'and at what keeps the event loop busy.',
    ),
    ...when(isDeaf, 'not-listening', () =>
      notifications === 'lost'
        ? 'The session for notifications is broken and is being connected again; polling stands in for it.'
        : 'Notifications do not come in, behind a pooler perhaps; polling stands in for them. Set sessionUrl to a direct ' +
          'connection, or to false.',
    ),
    ...loops.flatMap(problemsOfLoop),
  ];
}

export function problemsOfDatabase(
  { databaseMs, recovery, queues }: DatabaseHealth,
  thresholds: Required<HealthOptions>,
): HealthProblem[] {
  const isOld = (oldestMs: number | null): boolean =>
    oldestMs !== null && oldestMs > thresholds.queuedMs;
  const { stranded, deadLettered } = recovery;
  return [
    ...when(
      databaseMs > thresholds.databaseMs,
      'database-slow',
      () =>
        `A trivial statement took ${databaseMs} ms; more than ${thresholds.databaseMs} ms is slow.`,
    ),
    ...queues
      .filter(({ paused, oldestMs }) => !paused && isOld(oldestMs))
      .map(({ name, enqueued, oldestMs }) =>
        problem(
          'queue-old',
          `${enqueued} wait on queue "${name}", one of them for ${seconds(oldestMs ?? 0)}. Raise its limits, or run more ` +
            'processes.',
        ),
      ),
    ...stranded.map((workflows) =>
      problem(
        'stranded',
        `${strandedSentence(workflows)} ${remedyOf(workflows, recovery.applicationVersion ?? undefined)}`,
      ),
    ),
    ...when(
      deadLettered > 0,
      'dead-letters',
      () =>
        `${deadLettered} workflows were set aside as recovered too often. Look at them with explain(), then resume or cancel ` +
        'them.',
    ),
  ];
}

function problemsOfLoop({ name, failures, lateByMs }: LoopReport): HealthProblem[] {
  return [
    ...when(
      failures > 0,
      'loop-failing',
      () => `${name} has failed ${failures} times in a row; the log says why.`,
    ),
    ...when(
      lateByMs > 0,
      'loop-late',
      () =>
        `${name} should have been done ${seconds(lateByMs)} ago. A statement of it may hang, or the event loop be blocked.`,
    ),
  ];
}

function when(is: boolean, code: HealthProblemCode, message: () => string): HealthProblem[] {
  return is ? [problem(code, message())] : [];
}

function problem(code: HealthProblemCode, message: string): HealthProblem {
  return { code, message };
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
