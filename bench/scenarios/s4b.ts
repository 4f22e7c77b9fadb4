/**
 * Jobs of one step wait in a queue: how fast one process works them off. The clock starts when the first of them have
 * ended, so that neither the start of a worker nor its first poll or compilation counts, and stops when the tables say
 * that nothing waits or runs any more. Costs are those of all jobs and of the start of the worker.
 */
import { loadQueue } from '../harness/load.js';
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

export interface Size {
  readonly warmUp: number;
  readonly jobs: number;
  readonly concurrency: number;
}

export async function main(stage: Stage, { warmUp, jobs, concurrency }: Size): Promise<Sample> {
  const work = new Work();
  const queue = await stage.launchQueue({ work, concurrency });
  const all = warmUp + jobs;
  await loadQueue(queue, all);
  let elapsedMs = 0;
  const reading = await stage.meter(async () => {
    await queue.listen();
    await work.ended.reaches(warmUp);
    const start = performance.now();
    await work.ended.reaches(all);
    await stage.drained();
    elapsedMs = performance.now() - start;
  });
  if (work.jobs.count !== all)
    throw new Error(`Of ${all} jobs ${work.jobs.count} bodies have begun.`);
  return { value: (jobs * 1_000) / elapsedMs, cost: costPer(all, reading) };
}

export const scenario: Scenario<Size> = {
  title: 'drain of jobs of 1 step, concurrency 64',
  unit: '/s',
  operation: 'job',
  needs: ['queue'],
  goal: '≥ 20×',
  sizes: {
    full: { warmUp: 1_000, jobs: 5_000, concurrency: 64 },
    quick: { warmUp: 50, jobs: 200, concurrency: 64 },
  },
  acts: { main },
  direct: playOneAct,
};
