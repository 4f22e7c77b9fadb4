/**
 * One, two and four processes drain one queue on one server. Every job reports to a ledger: one that ran twice, or
 * never, fails the run. The clock is that of S4b.
 */
import { Crew, prepare, workInCrew } from '../harness/crew.js';
import { loadQueue } from '../harness/load.js';
import { monotonicMs } from '../harness/monotonic.js';
import { costPer } from '../harness/reading.js';
import type { Director } from '../harness/director.js';
import type { Sample, Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

interface Size {
  readonly warmUp: number;
  readonly jobs: number;
  /** Of each process. */
  readonly concurrency: number;
}

/** Often enough for the clock, seldom enough to cost the workers nothing. */
const REPORT_MS = 20;

async function lead(stage: Stage, size: Size, workers: number): Promise<Sample> {
  const { warmUp, jobs, concurrency } = size;
  const queue = await stage.launchQueue({ concurrency, listens: false });
  const crew = new Crew(stage);
  const all = warmUp + jobs;
  await crew.ready.reaches(workers);
  await loadQueue(queue, all);
  let end = Number.NaN;
  const reading = await stage.meter(async () => {
    crew.listen();
    await crew.begun.reaches(all);
    await stage.drained();
    end = monotonicMs();
  });
  crew.end();
  crew.checkLedger(all);
  const times = crew.jobs.map(({ atMs }) => atMs).sort((one, other) => one - other);
  const start = times[warmUp - 1] ?? Number.NaN;
  // The leader's own CPU time is the ledger's; that of the workers is added by whoever asked them for it.
  return {
    value: (jobs * 1_000) / (end - start),
    cost: costPer(all, { ...reading, nodeCpuMs: 0 }),
  };
}

async function drainWith(
  director: Director,
  workers: number,
  { warmUp, jobs }: Size,
): Promise<Sample> {
  const acts = [`lead${workers}`, ...Array.from({ length: workers }, () => 'worker')];
  const [sample, ...cpuTimes] = await director.together(acts);
  if (!sample?.cost) throw new Error('The leader has measured nothing.');
  const nodeCpuMs = cpuTimes.reduce((sum, { value }) => sum + value, 0);
  const nodeCpuUs = (nodeCpuMs * 1_000) / (warmUp + jobs);
  return { ...sample, cost: { ...sample.cost, nodeCpuUs } };
}

export const scenario: Scenario<Size> = {
  title: 'drain by 4 processes, concurrency 64 each',
  unit: '/s',
  operation: 'job',
  needs: ['queue', 'scale-out'],
  goal: '–',
  sizes: {
    full: { warmUp: 2_000, jobs: 10_000, concurrency: 64 },
    quick: { warmUp: 50, jobs: 300, concurrency: 64 },
  },
  acts: {
    prepare: (stage, { concurrency }) => prepare(stage, concurrency),
    lead1: (stage, size) => lead(stage, size, 1),
    lead2: (stage, size) => lead(stage, size, 2),
    lead4: (stage, size) => lead(stage, size, 4),
    worker: (stage, { concurrency }) => workInCrew(stage, { concurrency, reportMs: REPORT_MS }),
  },
  direct: async (director, size) => {
    await director.play('prepare');
    const one = await drainWith(director, 1, size);
    const two = await drainWith(director, 2, size);
    const four = await drainWith(director, 4, size);
    return { ...four, also: { by1: one.value, by2: two.value } };
  },
};
