/** From the spawn of `node` to the first result, the schema in place. */
import { difference } from '../harness/reading.js';
import { median, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

interface Size {
  readonly starts: number;
}

async function first(stage: Stage): Promise<Sample> {
  const engine = await stage.launch();
  await engine.execute(1);
  const { user, system } = process.cpuUsage(); // since the process began
  return { value: (user + system) / 1_000 };
}

export const scenario: Scenario<Size> = {
  title: 'start of node to first result (1 step), schema in place',
  unit: 'ms',
  operation: 'start',
  needs: ['workflows'],
  goal: '≥ 1×',
  sizes: { full: { starts: 5 }, quick: { starts: 1 } },
  acts: { first },
  direct: async (director, { starts }) => {
    await director.play('first'); // makes the schema, fills the caches
    const times: number[] = [];
    let nodeCpuMs = 0;
    const before = await director.counters();
    for (let start = 0; start < starts; start += 1) {
      const { sample, afterMs } = await director.timed('first');
      nodeCpuMs += sample.value;
      times.push(afterMs);
    }
    const { statements, walBytes, postgresCpuMs } = difference(before, await director.counters());
    return {
      value: median(times),
      cost: {
        statements: statements / starts,
        walBytes: walBytes / starts,
        nodeCpuUs: (nodeCpuMs * 1_000) / starts,
        postgresCpuUs: postgresCpuMs && (postgresCpuMs * 1_000) / starts,
      },
    };
  },
};
