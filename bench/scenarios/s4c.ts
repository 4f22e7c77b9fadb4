/** A queue with nothing in it: from the call that enqueues a job to the first line of its body, in one process. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../harness/monotonic.js';
import { pickUps, type PickUpSize } from '../harness/pick-ups.js';
import { costPer } from '../harness/reading.js';
import { median, playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size extends PickUpSize {
  readonly concurrency: number;
  /** How long the idle process is watched. */
  readonly idleMs: number;
}

/** Until whatever a job sets off has come to rest. */
const SETTLE_MS = 1_000;

async function main(stage: Stage, { warmUp, concurrency, idleMs, ...size }: Size): Promise<Sample> {
  const work = new Work();
  const queue = await stage.launchQueue({ work, concurrency });
  let begunAtMs = Number.NaN;
  work.onJob = ({ atMs }) => (begunAtMs = atMs);
  const pickUp = async (index: number): Promise<number> => {
    const start = monotonicMs();
    await queue.enqueue(index);
    await work.jobs.reaches(index + 1);
    return begunAtMs - start;
  };
  await queue.listen();
  await pickUps({ ...size, jobs: warmUp }, pickUp);
  let times: number[] = [];
  const first = work.jobs.count;
  const reading = await stage.meter(async () => {
    times = await pickUps(size, (index) => pickUp(first + index));
  });
  await delay(SETTLE_MS);
  const idle = await stage.meter(() => delay(idleMs));
  const p50Ms = median(times);
  return {
    value: p50Ms,
    cost: costPer(times.length, reading),
    p50Ms,
    also: { idleStatementsPerS: (idle.statements * 1_000) / idle.elapsedMs },
  };
}

export const scenario: Scenario<Size> = {
  title: 'idle queue: enqueue to start of the body, p50',
  unit: 'ms',
  operation: 'job, with the pause before it',
  needs: ['queue'],
  goal: '≤ 4 ms, idle ≤ 1 statement/s',
  sizes: {
    full: { warmUp: 20, jobs: 200, limitMs: 30_000, concurrency: 64, idleMs: 10_000 },
    quick: { warmUp: 2, jobs: 10, limitMs: 3_000, concurrency: 64, idleMs: 2_000 },
  },
  acts: { main },
  direct: playOneAct,
};
