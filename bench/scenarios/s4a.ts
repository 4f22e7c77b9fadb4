/** Many callers put one job each into a queue that nobody empties. */
import { inLanes } from '../harness/lanes.js';
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

interface Size {
  readonly warmUp: number;
  readonly jobs: number;
  readonly callers: number;
}

async function main(stage: Stage, { warmUp, jobs, callers }: Size): Promise<Sample> {
  const queue = await stage.launchQueue();
  const enqueue = (first: number, count: number): Promise<void> =>
    inLanes({ count, lanes: callers }, (index) => queue.enqueue(first + index));
  await enqueue(0, warmUp);
  const reading = await stage.meter(() => enqueue(warmUp, jobs));
  return {
    value: (jobs * 1_000) / reading.elapsedMs,
    cost: costPer(jobs, reading),
    p50Ms: (reading.elapsedMs * callers) / jobs,
  };
}

export const scenario: Scenario<Size> = {
  title: 'enqueue, 64 callers',
  unit: '/s',
  operation: 'job',
  needs: ['queue'],
  goal: '≥ 12×',
  sizes: {
    full: { warmUp: 2_000, jobs: 10_000, callers: 64 },
    quick: { warmUp: 64, jobs: 256, callers: 64 },
  },
  acts: { main },
  direct: playOneAct,
};
