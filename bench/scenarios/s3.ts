/** Many short workflows side by side. */
import { inLanes } from '../harness/lanes.js';
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly workflows: number;
  readonly steps: number;
  readonly inFlight: number;
}

async function main(stage: Stage, { warmUp, workflows, steps, inFlight }: Size): Promise<Sample> {
  const work = new Work();
  const engine = await stage.launch({ work, concurrency: inFlight });
  let started = 0;
  /** With polled results the callers only start; what ends the run is that the table shows all complete. */
  const run = async (count: number): Promise<void> => {
    const polls = stage.contestant.results === 'polling';
    await inLanes({ count, lanes: inFlight }, async () => {
      if (polls) await engine.start(steps);
      else await engine.execute(steps);
    });
    started += count;
    await work.ended.reaches(started);
    if (polls) await stage.completed(started);
  };
  await run(warmUp);
  const reading = await stage.meter(() => run(workflows));
  return {
    value: (workflows * 1_000) / reading.elapsedMs,
    cost: costPer(workflows, reading),
  };
}

export const scenario: Scenario<Size> = {
  title: 'workflows of 5 steps, 64 in flight',
  unit: '/s',
  operation: 'workflow',
  needs: ['workflows'],
  goal: '≥ 20×',
  sizes: {
    full: { warmUp: 1_000, workflows: 2_000, steps: 5, inFlight: 64 },
    quick: { warmUp: 20, workflows: 100, steps: 5, inFlight: 64 },
  },
  acts: { main },
  direct: playOneAct,
};
