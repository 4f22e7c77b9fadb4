/** One workflow with many steps, one after another. */
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly workflows: number;
  readonly steps: number;
}

async function main(stage: Stage, { warmUp, workflows, steps }: Size): Promise<Sample> {
  const work = new Work();
  const engine = await stage.launch({ work });
  /** With polled results a workflow counts until the end of its body: the pace of polling is for S1. */
  const runOne = async (): Promise<void> => {
    if (stage.contestant.results === 'callback') await engine.execute(steps);
    else {
      await engine.start(steps);
      await work.ended.reaches(work.ended.count + 1);
    }
  };
  const run = async (count: number): Promise<void> => {
    for (let workflow = 0; workflow < count; workflow += 1) await runOne();
  };
  await run(warmUp);
  const reading = await stage.meter(() => run(workflows));
  const operations = workflows * steps;
  return {
    value: (operations * 1_000) / reading.elapsedMs,
    cost: costPer(operations, reading),
    p50Ms: reading.elapsedMs / operations,
  };
}

export const scenario: Scenario<Size> = {
  title: 'steps of one workflow of 200 steps, sequential',
  unit: '/s',
  operation: 'step',
  needs: ['workflows'],
  goal: '≥ 4×',
  sizes: {
    full: { warmUp: 10, workflows: 10, steps: 200 },
    quick: { warmUp: 1, workflows: 1, steps: 50 },
  },
  acts: { main },
  direct: playOneAct,
};
