/** Memory of workflows that sleep for an hour. */
import { setTimeout as delay } from 'node:timers/promises';
import { inLanes } from '../harness/lanes.js';
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly sleepers: number;
}

const LANES = 64;
const SETTLE_POLL_MS = 500;
const SETTLE_POLLS_MAX = 60;
/** Two readings that differ by less than this per sleeper: nobody is falling asleep any more. */
const SETTLED_BYTES = 4;

async function main(stage: Stage, { warmUp, sleepers }: Size): Promise<Sample> {
  const work = new Work();
  const engine = await stage.launch({ work, concurrency: LANES });
  const start = async (first: number, count: number): Promise<void> => {
    await inLanes({ count, lanes: LANES }, (index) => engine.startSleeper(first + index));
    await work.asleep.reaches(first + count);
  };
  await start(0, warmUp);
  const before = await settledMemory(warmUp);
  const reading = await stage.meter(() => start(warmUp, sleepers));
  const after = await settledMemory(sleepers);
  return {
    value: (after.heap - before.heap) / sleepers,
    cost: costPer(sleepers, reading),
    also: { residentMiB: (after.resident - before.resident) / 2 ** 20 },
  };
}

interface Memory {
  readonly heap: number;
  readonly resident: number;
}

async function settledMemory(sleepers: number): Promise<Memory> {
  let last = collected();
  for (let poll = 0; poll < SETTLE_POLLS_MAX; poll += 1) {
    await delay(SETTLE_POLL_MS);
    const now = collected();
    if (Math.abs(now.heap - last.heap) < SETTLED_BYTES * sleepers) return now;
    last = now;
  }
  return last;
}

function collected(): Memory {
  if (!globalThis.gc) throw new Error('Needs --expose-gc.');
  globalThis.gc();
  const { heapUsed: heap, rss: resident } = process.memoryUsage();
  return { heap, resident };
}

export const scenario: Scenario<Size> = {
  title: 'heap per sleeping workflow, 5,000 for an hour',
  unit: 'B',
  operation: 'sleeper put to sleep',
  needs: ['workflows'],
  goal: '≤ 512 B',
  sizes: { full: { warmUp: 300, sleepers: 5_000 }, quick: { warmUp: 50, sleepers: 300 } },
  acts: { main },
  direct: playOneAct,
};
