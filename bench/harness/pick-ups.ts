/** One job after another into a queue that is empty again: how long each waits for its body to begin. */
import { setTimeout as delay } from 'node:timers/promises';

export interface PickUpSize {
  readonly warmUp: number;
  readonly jobs: number;
  /** Ends a contestant's run early that would take very long. */
  readonly limitMs: number;
}

/** Between two jobs, at random: no contestant's timer can fall in step with them. */
const PAUSE_MS = { min: 20, max: 50 };

/** @param pickUp enqueues one job and tells how long it waited */
export async function pickUps(
  { jobs, limitMs }: Omit<PickUpSize, 'warmUp'>,
  pickUp: (index: number) => Promise<number>,
): Promise<number[]> {
  const times: number[] = [];
  const deadline = performance.now() + limitMs;
  while (times.length < jobs && performance.now() < deadline) {
    await pause();
    times.push(await pickUp(times.length));
  }
  return times;
}

export async function pause(): Promise<void> {
  await delay(PAUSE_MS.min + Math.random() * (PAUSE_MS.max - PAUSE_MS.min));
}
