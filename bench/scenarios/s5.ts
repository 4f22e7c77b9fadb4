/** kill -9 with many workflows in the middle: from the launch of the next process until all have ended. */
import { inLanes } from '../harness/lanes.js';
import { costPer } from '../harness/reading.js';
import type { Sample, Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly workflows: number;
}

const STEPS = 5;
/** The fourth step: three stand in the database when the process is killed. */
const HELD_STEP = 3;

async function crash(stage: Stage, { workflows }: Size): Promise<void> {
  const work = new Work(HELD_STEP);
  const engine = await stage.launch({ work, concurrency: workflows });
  await inLanes({ count: workflows, lanes: 64 }, () => engine.start(STEPS));
  await work.held.reaches(workflows);
  await stage.holdUntilKilled();
}

async function recover(stage: Stage, { workflows }: Size): Promise<Sample> {
  const work = new Work();
  const reading = await stage.meter(async () => {
    await stage.launch({ work, concurrency: workflows });
    await work.ended.reaches(workflows);
    await stage.completed(workflows);
  });
  for (let step = 0; step < HELD_STEP; step += 1) {
    const again = work.timesBegun(step);
    if (again > 0)
      throw new Error(`${again} bodies of step ${step} ran again after their checkpoint.`);
  }
  return { value: reading.elapsedMs, cost: costPer(workflows, reading) };
}

export const scenario: Scenario<Size> = {
  title: 'kill -9 with 1,000 workflows at step 3 of 5: launch to all done',
  unit: 'ms',
  operation: 'workflow',
  needs: ['workflows'],
  goal: '≥ 15×',
  sizes: { full: { workflows: 1_000 }, quick: { workflows: 40 } },
  acts: { crash, recover },
  direct: async (director) => {
    await director.killWhenHolding('crash');
    return director.play('recover');
  },
};
