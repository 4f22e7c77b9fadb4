/** Fills a queue as fast as its contestant can, where that is not what is measured. */
import type { QueueEngine } from './contestant.js';
import { inLanes } from './lanes.js';

export const BATCH = 500;
const LANES = 64;

export async function loadQueue(queue: QueueEngine, jobs: number): Promise<void> {
  if (!queue.enqueueMany) {
    await inLanes({ count: jobs, lanes: LANES }, (index) => queue.enqueue(index));
    return;
  }
  for (let first = 0; first < jobs; first += BATCH)
    await queue.enqueueMany(indexesFrom(first, Math.min(BATCH, jobs - first)));
}

export function indexesFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, offset) => first + offset);
}
