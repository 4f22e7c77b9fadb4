// Runs scenarios: `npm run chaos -- --seed 7 --seconds 10 --scenarios kill,soak`. Exits with 1 where a promise was broken.
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ChaosServer } from './chaos-server.js';
import { runScenario, type RunReport } from './run-scenario.js';
import { SCENARIOS } from './scenarios.js';

const SHOWN = 10;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

function told(): { seed: number; seconds: number; names: readonly string[] } {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      seconds: { type: 'string', default: '10' },
      scenarios: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
    },
  });
  const names = values.scenarios.split(',');
  const unknown = names.filter((name) => !(name in SCENARIOS));
  const [seed, seconds] = [Number(values.seed), Number(values.seconds)];
  if (unknown.length > 0 || !Number.isInteger(seed) || !(seconds > 0))
    throw new Error(
      `Usage: --seed <whole number> --seconds <number> --scenarios <${Object.keys(SCENARIOS).join(',')}>`,
    );
  return { seed, seconds, names };
}

function lineOf(name: string, seed: number, report: RunReport): string {
  const { workflows, bodies, processes, lostAnswers, faults, violations } = report;
  const counted = [...faults].map(([fault, count]) => `${fault} ${count}`).join(', ');
  return (
    `${name} (seed ${seed}): ${workflows} workflows, ${bodies} bodies, ${processes} processes, ` +
    `${lostAnswers} lost answers; ${counted || 'no faults'}; ${violations.length} violations`
  );
}

async function main(): Promise<void> {
  const { seed, seconds, names } = told();
  say(`seed ${seed}`);
  const server = await ChaosServer.start();
  // The server is a process of its own and would stay; those of the fleet go with us.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void server.close().finally(() => process.exit(1)));
  let broken = 0;
  try {
    for (const name of names) {
      const report = await runScenario({ name, scenario: SCENARIOS[name]!, seed, seconds, server });
      say(lineOf(name, seed, report));
      broken += report.violations.length;
      for (const { promise, what } of report.violations.slice(0, SHOWN))
        say(`  ${promise}: ${what}`);
      if (report.violations.length === 0) continue;
      const file = join(tmpdir(), `dbos-chaos-${name}-${seed}.log`);
      await writeFile(file, report.logs.join('\n'));
      say(`  what the processes wrote: ${file}`);
    }
  } finally {
    await server.close();
  }
  say(`${broken} violations`);
  process.exitCode = broken === 0 ? 0 : 1;
}

await main();
