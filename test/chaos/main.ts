// Runs scenarios: `npm run chaos -- --seed 7 --seconds 10 --scenarios kill,soak`. Exits with 1 where a promise was broken.
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ChaosServer } from './chaos-server.js';
import { runScenario, type RunReport } from './run-scenario.js';
import { SCENARIOS } from './scenarios.js';
import { SmallDisk } from './small-disk.js';

const SHOWN = 10;
/** Set for a process that was given a namespace to mount in. */
const IN_NAMESPACE = 'DBOS_CHAOS_IN_NAMESPACE';
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const servers = new Set<ChaosServer>();

function opened(server: ChaosServer): ChaosServer {
  servers.add(server);
  return server;
}

async function closed(server: ChaosServer): Promise<void> {
  servers.delete(server);
  await server.close();
}

async function closeAll(): Promise<void> {
  await Promise.all([...servers].map(closed));
}

interface Asked {
  readonly seed: number;
  readonly seconds: number;
  readonly names: readonly string[];
}

function told(): Asked {
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

/** How often a promise was broken. */
async function broken(name: string, asked: Asked, server: ChaosServer): Promise<number> {
  const { seed, seconds } = asked;
  const report = await runScenario({ name, scenario: SCENARIOS[name]!, seed, seconds, server });
  say(lineOf(name, seed, report));
  for (const { promise, what } of report.violations.slice(0, SHOWN)) say(`  ${promise}: ${what}`);
  if (report.violations.length > 0) {
    const file = join(tmpdir(), `dbos-chaos-${name}-${seed}.log`);
    await writeFile(file, report.logs.join('\n'));
    say(`  what the processes wrote: ${file}`);
  }
  return report.violations.length;
}

/** Undefined when this machine lets nobody do it, which is told. */
async function brokenOnSmallDisk(name: string, asked: Asked): Promise<number | undefined> {
  let disk: SmallDisk;
  try {
    disk = await SmallDisk.mount();
  } catch (error) {
    const namespace = await SmallDisk.namespace();
    if (namespace && !process.env[IN_NAMESPACE]) return runIn(namespace, name, asked);
    const reason = error instanceof Error ? error.message.replaceAll('\n', ' ') : String(error);
    say(`${name}: SKIPPED, for a small disk cannot be mounted here: ${reason}`);
    return undefined;
  }
  const server = opened(await ChaosServer.startOn(disk));
  try {
    return await broken(name, asked, server);
  } finally {
    await closed(server);
  }
}

async function runIn(
  [program = '', ...args]: readonly string[],
  name: string,
  { seed, seconds }: Asked,
): Promise<number> {
  const ours = ['--seed', seed, '--seconds', seconds, '--scenarios', name].map(String);
  const [script = ''] = process.argv.slice(1);
  const child = spawn(program, [...args, process.execPath, ...process.execArgv, script, ...ours], {
    stdio: 'inherit',
    env: { ...process.env, [IN_NAMESPACE]: 'yes' },
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

async function main(): Promise<void> {
  const given = told();
  say(`seed ${given.seed}`);
  let [sum, skipped] = [0, 0];
  // The servers are processes of their own and would stay; those of the fleet go with us.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void closeAll().finally(() => process.exit(1)));
  const shared = given.names.some((name) => !SCENARIOS[name]?.smallDisk)
    ? opened(await ChaosServer.start())
    : undefined;
  try {
    for (const name of given.names) {
      const found = SCENARIOS[name]?.smallDisk
        ? await brokenOnSmallDisk(name, given)
        : await broken(name, given, shared!);
      if (found === undefined) skipped += 1;
      else sum += found;
    }
  } finally {
    await closeAll();
  }
  say(`${sum} violations${skipped > 0 ? `, ${skipped} scenarios skipped` : ''}`);
  process.exitCode = sum === 0 ? 0 : 1;
}

await main();
