/** Two workflows of one process send each other a message in turns: how long a ball is away. */
import { costPer } from '../harness/reading.js';
import { median, playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly rounds: number;
}

async function main(stage: Stage, { warmUp, rounds }: Size): Promise<Sample> {
  const work = new Work();
  const engine = await stage.launchMessages({ work, concurrency: 64 });
  await engine.pingPong(warmUp);
  const reading = await stage.meter(() => engine.pingPong(rounds));
  const times = work.roundTripsMs.slice(warmUp);
  if (times.length !== rounds) throw new Error(`${times.length} of ${rounds} balls came back.`);
  const p50Ms = median(times);
  return { value: p50Ms, cost: costPer(rounds, reading), p50Ms };
}

export const scenario: Scenario<Size> = {
  title: 'round trip of a message between two workflows, p50',
  unit: 'ms',
  operation: 'round trip',
  needs: ['messages'],
  goal: '≥ 3×',
  sizes: { full: { warmUp: 1_000, rounds: 1_000 }, quick: { warmUp: 5, rounds: 20 } },
  acts: { main },
  direct: playOneAct,
};
