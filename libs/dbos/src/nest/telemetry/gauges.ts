/** The gauges, read off the health report: one look at the database, bounded, however many ask at once. */
import type { DatabaseHealth, ProcessHealth } from '../../engine/health.js';
import type { DbosReadiness } from '../dbos-health.js';
import type { GaugeName, Labels, Reading } from './metric-definitions.js';

export function readingsOf(report: DbosReadiness): Reading[] {
  const { problems, databaseMs, recovery, queues, reason } = report;
  const isAsked = databaseMs !== undefined || reason === 'database unreachable';
  const database = recovery && queues && databaseMs !== undefined;
  return [
    ...readingsOfProcess(report),
    ...countsOf(problems.map(({ code }) => code)).map(([code, count]) =>
      reading('problems', count, { reason: code }),
    ),
    ...(isAsked ? [reading('databaseUp', databaseMs === undefined ? 0 : 1)] : []),
    ...(database ? readingsOfDatabase({ databaseMs, recovery, queues }) : []),
  ];
}

function readingsOfProcess({ executor, notifications, loops }: ProcessHealth): Reading[] {
  const now = Date.now();
  return [
    reading('up', executor.isRunning ? 1 : 0),
    ...(executor.leaseAgeMs === null ? [] : [reading('leaseAge', executor.leaseAgeMs / 1_000)]),
    reading('slotsUsed', executor.slots.used),
    reading('slotsLimit', executor.slots.limit),
    reading('listening', notifications === 'listening' ? 1 : 0),
    ...loops.flatMap(({ name: loop, lastTickAt, failures }) => [
      ...(lastTickAt
        ? [reading('loopAge', Math.max(0, now - lastTickAt.getTime()) / 1_000, { loop })]
        : []),
      reading('loopFailures', failures, { loop }),
    ]),
  ];
}

function readingsOfDatabase({ databaseMs, recovery, queues }: DatabaseHealth): Reading[] {
  const { oldestUnfinishedAt, stranded } = recovery;
  const byStatus = {
    PENDING: recovery.pending,
    ENQUEUED: recovery.enqueued,
    DELAYED: recovery.delayed,
    SUSPENDED: recovery.suspended,
    MAX_RECOVERY_ATTEMPTS_EXCEEDED: recovery.deadLettered,
  };
  const ageMs = oldestUnfinishedAt ? Math.max(0, Date.now() - oldestUnfinishedAt.getTime()) : 0;
  return [
    reading('roundTrip', databaseMs / 1_000),
    ...Object.entries(byStatus).map(([status, count]) => reading('unfinished', count, { status })),
    ...stranded.map(({ name: workflow, version, count, reason }) =>
      reading('stranded', count, { workflow, version: version ?? '', reason }),
    ),
    reading('oldest', ageMs / 1_000),
    ...queues.flatMap(({ name: queue, enqueued, oldestMs, paused }) => [
      reading('queueDepth', enqueued, { queue }),
      reading('queueAge', (oldestMs ?? 0) / 1_000, { queue }),
      reading('queuePaused', paused ? 1 : 0, { queue }),
    ]),
  ];
}

function reading(gauge: GaugeName, value: number, labels: Labels = {}): Reading {
  return { gauge, value, labels };
}

function countsOf(codes: readonly string[]): Array<[string, number]> {
  const counts = new Map<string, number>();
  for (const code of codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts];
}
