import { problemsOfDatabase, problemsOfProcess } from './health-assessment.js';
import type { DatabaseHealth, ProcessHealth } from './health.js';

const WELL: ProcessHealth = {
  executor: {
    id: 'executor',
    isRunning: true,
    leaseAgeMs: 1_000,
    leaseMs: 10_000,
    slots: { used: 0, limit: 10 },
  },
  notifications: 'listening',
  loops: [{ name: 'The heartbeat', lastTickAt: new Date(), failures: 0, lateByMs: 0 }],
};

const WELL_IN_DATABASE: DatabaseHealth = {
  databaseMs: 1_000,
  recovery: {
    executorId: 'executor',
    applicationVersion: null,
    phase: 'running',
    found: 3,
    replaying: 2,
    recovered: 1,
    failed: 1,
    setAside: 0,
    pending: 3,
    enqueued: 2,
    delayed: 1,
    suspended: 0,
    deadLettered: 0,
    oldestUnfinishedAt: new Date(0),
    stranded: [],
  },
  queues: [{ name: 'parcels', paused: false, enqueued: 7, oldestMs: 300_000 }],
};

const THRESHOLDS = { databaseMs: 1_000, queuedMs: 300_000 };

const codesOf = (problems: ReadonlyArray<{ code: string }>): string[] =>
  problems.map(({ code }) => code);

const ofProcess = (change: Partial<ProcessHealth>): string[] =>
  codesOf(problemsOfProcess({ ...WELL, ...change }));

const ofDatabase = (change: Partial<DatabaseHealth>): string[] =>
  codesOf(problemsOfDatabase({ ...WELL_IN_DATABASE, ...change }, THRESHOLDS));

describe('What is wrong with a process', () => {
  it('is nothing while all is well', () => {
    expect(ofProcess({})).toEqual([]);
  });

  it.each([
    [6_666, []],
    [6_667, ['lease-late']],
  ])('with a lease of ten seconds whose heartbeat is %d ms old is %j', (leaseAgeMs, codes) => {
    expect(ofProcess({ executor: { ...WELL.executor, leaseAgeMs } })).toEqual(codes);
  });

  it.each([
    ['connecting', []],
    ['off', []],
    ['lost', ['not-listening']],
    ['deaf', ['not-listening']],
  ] as const)('whose notifications are %s is %j', (notifications, codes) => {
    expect(ofProcess({ notifications })).toEqual(codes);
  });

  it('is every duty that fails or is late', () => {
    const [duty] = WELL.loops;
    const loops = [
      { ...duty!, failures: 1 },
      { ...duty!, lateByMs: 1 },
    ];
    expect(ofProcess({ loops })).toEqual(['loop-failing', 'loop-late']);
  });
});

describe('What is wrong in the database', () => {
  it('is nothing while it recovers and all is well', () => {
    expect(ofDatabase({})).toEqual([]);
  });

  it('is a round trip beyond the threshold', () => {
    expect(ofDatabase({ databaseMs: 1_000.1 })).toEqual(['database-slow']);
  });

  it('is what waits beyond the threshold, unless its queue is paused', () => {
    const old = { name: 'parcels', enqueued: 7, oldestMs: 300_001 };
    expect(ofDatabase({ queues: [{ ...old, paused: false }] })).toEqual(['queue-old']);
    expect(ofDatabase({ queues: [{ ...old, paused: true }] })).toEqual([]);
  });

  it('is each name that is stranded, and what was set aside', () => {
    const reason = 'no workflow of this name is registered here';
    const recovery = {
      ...WELL_IN_DATABASE.recovery,
      deadLettered: 1,
      stranded: [{ name: 'Gone', version: null, count: 4, reason } as const],
    };
    expect(ofDatabase({ recovery })).toEqual(['stranded', 'dead-letters']);
  });

  it('is told with numbers', () => {
    const [problem] = problemsOfDatabase(
      {
        ...WELL_IN_DATABASE,
        queues: [{ name: 'parcels', paused: false, enqueued: 7, oldestMs: 360_000 }],
      },
      THRESHOLDS,
    );
    expect(problem?.message).toBe(
      '7 wait on queue "parcels", one of them for 360.0 s. Raise its limits, or run more processes.',
    );
  });
});
