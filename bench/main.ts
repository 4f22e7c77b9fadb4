/** `npm run bench`: every chosen contestant in every chosen scenario, round by round; prints and keeps the figures. */
import { writeFile } from 'node:fs/promises';
import { planOf, runPhase, type PhaseResult } from './harness/phase.js';
import { BenchServer } from './harness/server.js';
import { optionsOf } from './options.js';
import { describeMachine, load } from './report/machine.js';
import { summarise } from './report/summary.js';
import { tablesOf } from './report/tables.js';

const options = optionsOf(process.argv.slice(2));
const startedAt = new Date();
const loadBefore = load();
const server = await BenchServer.start();
let isInterrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => (isInterrupted = true));

try {
  const machine = describeMachine(await server.version());
  const results: PhaseResult[] = [];
  const plan = await planOf(options);
  for (const [index, phase] of plan.entries()) {
    if (isInterrupted) break; // what has been measured so far is still printed
    const result = await runPhase(server, phase);
    results.push(result);
    progress(`${index + 1}/${plan.length}`, result);
  }
  const summaries = await summarise(results);
  const run = { startedAt, endedAt: new Date(), machine, loadBefore, loadAfter: load(), options };
  process.stdout.write(`${JSON.stringify(run, undefined, 2)}\n\n${tablesOf(summaries)}`);
  if (options.json !== undefined)
    await writeFile(options.json, JSON.stringify({ ...run, summaries, results }, undefined, 2));
} finally {
  await server.stop();
}

function progress(
  position: string,
  { scenario, contestant, round, sample, failure }: PhaseResult,
): void {
  const outcome = failure === undefined ? `${sample?.value.toFixed(1)}` : `FAILED: ${failure}`;
  process.stderr.write(`${position} round ${round + 1} ${scenario} ${contestant}: ${outcome}\n`);
}
