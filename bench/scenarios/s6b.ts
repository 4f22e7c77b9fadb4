/** Someone waits for an event of a workflow: from the call that sets it to the moment when they have it, in one process. */
import type { Herald } from '../harness/contestant.js';
import { pause } from '../harness/pick-ups.js';
import { costPer } from '../harness/reading.js';
import { median, playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly events: number;
}

async function main(stage: Stage, { warmUp, events }: Size): Promise<Sample> {
  const work = new Work();
  const engine = await stage.launchMessages({ work, concurrency: 64 });
  const herald = await engine.startHerald(warmUp + events);
  for (let index = 0; index < warmUp; index += 1) await hear(work, herald, index);
  const times: number[] = [];
  const reading = await stage.meter(async () => {
    for (let index = warmUp; index < warmUp + events; index += 1)
      times.push(await hear(work, herald, index));
  });
  const p50Ms = median(times);
  return { value: p50Ms, cost: costPer(events, reading), p50Ms };
}

/** The pause lets the wait begin, and no contestant's timer fall in step. */
async function hear(work: Work, herald: Herald, index: number): Promise<number> {
  const heard = herald.event(index);
  await pause();
  work.giveCue();
  if ((await heard) !== index) throw new Error(`Event ${index} had another value.`);
  return performance.now() - work.settingAtMs;
}

export const scenario: Scenario<Size> = {
  title: 'setEvent to getEvent, p50',
  unit: 'ms',
  operation: 'event, with the pause before it',
  needs: ['messages'],
  goal: '≥ 3×',
  sizes: { full: { warmUp: 20, events: 150 }, quick: { warmUp: 2, events: 10 } },
  acts: { main },
  direct: playOneAct,
};
