/** One after another: start a workflow without steps and wait for its result. */
import { costPer } from '../harness/reading.js';
import { median, playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';

export interface Size {
  readonly warmUp: number;
  readonly workflows: number;
  /** Ends a contestant's run early that would take very long. */
  readonly limitMs: number;
}

export async function main(stage: Stage, { warmUp, workflows, limitMs }: Size): Promise<Sample> {
  const engine = await stage.launch();
  const latencies: number[] = [];
  const execute = async (count: number): Promise<void> => {
    latencies.length = 0;
    const deadline = performance.now() + limitMs;
    while (latencies.length < count && performance.now() < deadline) {
      const start = performance.now();
      await engine.execute(0);
      latencies.push(performance.now() - start);
    }
  };
  await execute(warmUp);
  const reading = await stage.meter(() => execute(workflows));
  return {
    value: (latencies.length * 1_000) / reading.elapsedMs,
    cost: costPer(latencies.length, reading),
    p50Ms: median(latencies),
  };
}

export const scenario: Scenario<Size> = {
  title: 'start + result, sequential, 0 steps',
  unit: '/s',
  operation: 'workflow',
  needs: ['workflows'],
  goal: '≥ 3×',
  sizes: {
    full: { warmUp: 2_000, workflows: 2_000, limitMs: 10_000 },
    quick: { warmUp: 10, workflows: 50, limitMs: 2_000 },
  },
  acts: { main },
  direct: playOneAct,
};
