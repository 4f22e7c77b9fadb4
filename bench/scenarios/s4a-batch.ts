/** One caller puts many jobs with each call into a queue that nobody empties. */
import { indexesFrom } from '../harness/load.js';
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

interface Size {
  readonly warmUp: number;
  readonly calls: number;
  readonly jobsPerCall: number;
}

async function main(stage: Stage, { warmUp, calls, jobsPerCall }: Size): Promise<Sample> {
  const queue = await stage.launchQueue();
  const enqueue = async (first: number, count: number): Promise<void> => {
    for (let call = first; call < first + count; call += 1)
      await queue.enqueueMany?.(indexesFrom(call * jobsPerCall, jobsPerCall));
  };
  await enqueue(0, warmUp);
  const reading = await stage.meter(() => enqueue(warmUp, calls));
  const jobs = calls * jobsPerCall;
  return {
    value: (jobs * 1_000) / reading.elapsedMs,
    cost: costPer(jobs, reading),
    p50Ms: reading.elapsedMs / calls,
  };
}

export const scenario: Scenario<Size> = {
  title: 'enqueue, 500 jobs a call',
  unit: '/s',
  operation: 'job',
  needs: ['queue', 'batch'],
  goal: '≥ 4×',
  sizes: {
    full: { warmUp: 10, calls: 40, jobsPerCall: 500 },
    quick: { warmUp: 1, calls: 2, jobsPerCall: 500 },
  },
  acts: { main },
  direct: playOneAct,
};
