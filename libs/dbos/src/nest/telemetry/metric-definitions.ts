/** All metrics: their names for OpenTelemetry, from which those for Prometheus follow, and what they mean. */

/** The short names are Prometheus labels, the long ones OpenTelemetry attributes. */
export const ATTRIBUTES = {
  workflow: 'dbos.workflow.name',
  step: 'dbos.step.name',
  kind: 'dbos.operation.type',
  outcome: 'dbos.outcome',
  queue: 'dbos.queue.name',
  status: 'dbos.workflow.status',
  reason: 'dbos.reason',
  version: 'dbos.application.version',
  loop: 'dbos.loop.name',
} as const;

export type Label = keyof typeof ATTRIBUTES;
export type Labels = Readonly<Partial<Record<Label, string>>>;

export interface MetricDefinition {
  /** `dbos.step.duration`; for Prometheus `dbos_step_duration_seconds`. */
  readonly name: string;
  /** As the UCUM has it; `s`, or a word in braces for what is counted. */
  readonly unit: string;
  readonly help: string;
}

/** Only ever grow, from when this process began to collect. */
export const COUNTERS = {
  starts: {
    name: 'dbos.workflow.starts',
    unit: '{call}',
    help: 'Calls of this process that start or enqueue workflows, by how they ended.',
  },
  sends: {
    name: 'dbos.message.sends',
    unit: '{message}',
    help: 'Messages sent by this process, by how that ended.',
  },
  recoveries: {
    name: 'dbos.workflow.recoveries',
    unit: '{workflow}',
    help: 'Workflows of dead executors that this process sent back to be claimed.',
  },
  retries: {
    name: 'dbos.step.retries',
    unit: '{attempt}',
    help: 'Attempts of steps that failed and were followed by another one.',
  },
  replays: {
    name: 'dbos.step.replays',
    unit: '{step}',
    help: 'Outcomes that were taken from the history instead of being worked out again.',
  },
} as const satisfies Record<string, MetricDefinition>;

export const HISTOGRAMS = {
  runs: {
    name: 'dbos.workflow.run.duration',
    unit: 's',
    help: 'Runs of workflows in this process, from the call of their code to an outcome or until they left, by what became of them.',
  },
  steps: {
    name: 'dbos.step.duration',
    unit: 's',
    help: 'Steps and transactions that were executed, all attempts and the pauses between them included.',
  },
} as const satisfies Record<string, MetricDefinition>;

/** Of one step to an hour: what is longer sleeps in the database and leaves this process. */
export const BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600,
] as const;

/** Read when they are asked for. Those of the database are the same in every process: take the maximum, not the sum. */
export const GAUGES = {
  up: {
    name: 'dbos.executor.up',
    unit: '1',
    help: 'Whether this process claims and runs workflows: 1 or 0.',
  },
  leaseAge: {
    name: 'dbos.executor.lease.age',
    unit: 's',
    help: 'Since the heartbeat that was confirmed last was sent.',
  },
  slotsUsed: {
    name: 'dbos.executor.slots.used',
    unit: '{run}',
    help: 'Runs at work in this process.',
  },
  slotsLimit: {
    name: 'dbos.executor.slots.limit',
    unit: '{run}',
    help: 'Most runs at work in this process at once.',
  },
  listening: {
    name: 'dbos.notifications.listening',
    unit: '1',
    help: 'Whether notifications of other processes come in: 1 or 0.',
  },
  loopAge: {
    name: 'dbos.loop.age',
    unit: 's',
    help: 'Since a background duty was last done.',
  },
  loopFailures: {
    name: 'dbos.loop.failures',
    unit: '{failure}',
    help: 'How often in a row a background duty has failed.',
  },
  problems: {
    name: 'dbos.problems',
    unit: '{problem}',
    help: 'What the health report says is wrong, by its code; nothing when all is well.',
  },
  databaseUp: {
    name: 'dbos.database.up',
    unit: '1',
    help: 'Whether the database answered in time: 1 or 0.',
  },
  roundTrip: {
    name: 'dbos.database.round_trip',
    unit: 's',
    help: 'Round trip of one trivial statement.',
  },
  unfinished: {
    name: 'dbos.workflow.unfinished',
    unit: '{workflow}',
    help: 'Workflows of the whole database without an outcome, by status; of each the first 1,000.',
  },
  stranded: {
    name: 'dbos.workflow.stranded',
    unit: '{workflow}',
    help: 'Workflows of the whole database that cannot go on in this process.',
  },
  oldest: {
    name: 'dbos.workflow.oldest_unfinished.age',
    unit: 's',
    help: 'Since the oldest workflow without an outcome was created.',
  },
  queueDepth: {
    name: 'dbos.queue.depth',
    unit: '{workflow}',
    help: 'Workflows that wait on a queue; the first 1,000.',
  },
  queueAge: {
    name: 'dbos.queue.oldest.age',
    unit: 's',
    help: 'How long the one among them has waited that waits longest; 0 when nothing does.',
  },
  queuePaused: {
    name: 'dbos.queue.paused',
    unit: '1',
    help: 'Whether a queue is paused: 1 or 0.',
  },
} as const satisfies Record<string, MetricDefinition>;

export type CounterName = keyof typeof COUNTERS;
export type HistogramName = keyof typeof HISTOGRAMS;
export type GaugeName = keyof typeof GAUGES;

/** Where what is counted goes. */
export interface MetricSink {
  add(counter: CounterName, count: number, labels: Labels): void;
  record(histogram: HistogramName, seconds: number, labels: Labels): void;
}

/** One value of a gauge, as it is now. */
export interface Reading {
  readonly gauge: GaugeName;
  readonly value: number;
  readonly labels: Labels;
}
