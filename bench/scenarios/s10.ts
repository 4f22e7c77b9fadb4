/** Workflows of transaction steps, one after another: each writes one row of the application and its checkpoint. */
import { costPer } from '../harness/reading.js';
import { playOneAct, type Sample, type Scenario } from '../harness/scenario.js';
import type { Stage } from '../harness/stage.js';
import { Work } from '../harness/work.js';

interface Size {
  readonly warmUp: number;
  readonly workflows: number;
  readonly steps: number;
}

/** Counts the rows that the steps have written. */
const WRITTEN_SQL = 'SELECT count(*) FROM "Note"';

async function main(stage: Stage, { warmUp, workflows, steps }: Size): Promise<Sample> {
  const engine = await stage.launchTransactions({ work: new Work() });
  let written = 0;
  const run = async (count: number): Promise<void> => {
    for (let workflow = 0; workflow < count; workflow += 1)
      written += await engine.write(written, steps);
  };
  await run(warmUp);
  const reading = await stage.meter(() => run(workflows));
  const rows = await stage.count(WRITTEN_SQL);
  if (rows !== written) throw new Error(`${written} steps have written ${rows} rows.`);
  const operations = workflows * steps;
  return {
    value: (operations * 1_000) / reading.elapsedMs,
    cost: costPer(operations, reading),
    p50Ms: reading.elapsedMs / operations,
  };
}

export const scenario: Scenario<Size> = {
  title: 'transaction steps of one workflow of 200, one row each, sequential',
  unit: '/s',
  operation: 'transaction step',
  needs: ['transactions'],
  goal: '–',
  sizes: {
    full: { warmUp: 5, workflows: 10, steps: 200 },
    quick: { warmUp: 1, workflows: 1, steps: 20 },
  },
  acts: { main },
  direct: playOneAct,
};
