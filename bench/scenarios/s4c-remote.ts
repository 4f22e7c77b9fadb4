/** As S4c, but the job is enqueued by one process and run by another. */
import { Crew, prepare, workInCrew } from '../harness/crew.js';
import { monotonicMs } from '../harness/monotonic.js';
import { pickUps, type PickUpSize } from '../harness/pick-ups.js';
import { median, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

interface Size extends PickUpSize {
  readonly concurrency: number;
}

async function lead(stage: Stage, { warmUp, concurrency, ...size }: Size): Promise<Sample> {
  const queue = await stage.launchQueue({ concurrency, listens: false });
  const crew = new Crew(stage);
  const pickUp = async (index: number): Promise<number> => {
    const start = monotonicMs();
    await queue.enqueue(index);
    await crew.begun.reaches(index + 1);
    return (crew.jobs[index]?.atMs ?? Number.NaN) - start;
  };
  await crew.ready.reaches(1);
  crew.listen();
  await pickUps({ ...size, jobs: warmUp }, pickUp);
  const first = crew.begun.count;
  const p50Ms = median(await pickUps(size, (index) => pickUp(first + index)));
  crew.end();
  return { value: p50Ms, p50Ms };
}

export const scenario: Scenario<Size> = {
  title: 'the same across two processes',
  unit: 'ms',
  operation: 'job',
  needs: ['queue'],
  goal: '–',
  sizes: {
    full: { warmUp: 20, jobs: 200, limitMs: 30_000, concurrency: 64 },
    quick: { warmUp: 2, jobs: 10, limitMs: 3_000, concurrency: 64 },
  },
  acts: {
    prepare: (stage, { concurrency }) => prepare(stage, concurrency),
    lead,
    worker: (stage, { concurrency }) => workInCrew(stage, { concurrency, reportMs: 0 }),
  },
  direct: async (director) => {
    await director.play('prepare');
    const [sample] = await director.together(['lead', 'worker']);
    if (!sample) throw new Error('The leader has measured nothing.');
    return sample;
  },
};
