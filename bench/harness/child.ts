/** Entry point of the processes that the bench spawns: plays one act of one scenario with one contestant. */
import { setTimeout as delay } from 'node:timers/promises';
import { loadContestant } from './contestant.js';
import type { Assignment, Message } from './protocol.js';
import { loadScenario } from './scenario.js';
import { Stage } from './stage.js';

const CLOSE_LIMIT_MS = 5_000;

const assignment = JSON.parse(process.argv[2] ?? '{}') as Assignment;
const report = (message: Message): Promise<void> =>
  new Promise((resolve) => process.send?.(message, () => resolve()));

try {
  const stage = new Stage(await loadContestant(assignment.contestant), assignment);
  const { acts, sizes } = await loadScenario(assignment.scenario);
  const act = acts[assignment.act];
  if (!act) throw new Error(`${assignment.scenario} has no act "${assignment.act}".`);
  const sample = (await act(stage, assignment.quick ? sizes.quick : sizes.full)) ?? undefined;
  await report({ kind: 'done', sample });
  await Promise.race([stage.close(), delay(CLOSE_LIMIT_MS)]);
} catch (error) {
  await report({
    kind: 'failed',
    reason: error instanceof Error ? (error.stack ?? '') : String(error),
  });
} finally {
  process.exit();
}
