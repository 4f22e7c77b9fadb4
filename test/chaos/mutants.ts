// Proves the checker: takes a guard out of a copy of the sources, and sees the scenarios tell of it. Exits with 1 where a
// mutant went unnoticed.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Mutant {
  readonly name: string;
  readonly scenario: string;
  readonly seconds: number;
  /** What is replaced in which file, everywhere. */
  readonly patches: ReadonlyArray<{
    readonly file: string;
    readonly from: string;
    readonly to: string;
  }>;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['libs', 'test', 'sample-app', 'tsconfig.json', '.swcrc', 'package.json'];
const MIGRATIONS = 'libs/dbos/src/prisma/migrations';
const FUNCTIONS = `${MIGRATIONS}/20261126000100_functions/migration.sql`;
const ALONE = `${MIGRATIONS}/20261129050000_alone/migration.sql`;
/** A mutant is found by chance, so it is tried with a few seeds. */
const SEEDS = [1, 2, 3];
const PATIENCE_MS = 240_000;

const MUTANTS: readonly Mutant[] = [
  {
    name: 'the fence is gone',
    scenario: 'freeze',
    seconds: 12,
    patches: [
      {
        file: FUNCTIONS,
        from: "locked.status = 'PENDING' AND locked.executor_id = run.executor_id AND locked.epoch = run.epoch",
        to: 'true',
      },
      {
        file: ALONE,
        from: "locked.status = 'PENDING' AND locked.executor_id = executor AND locked.epoch = run_epoch",
        to: 'true',
      },
      {
        file: ALONE,
        from: "AND (w.status, w.executor_id, w.epoch) IS NOT DISTINCT FROM ('PENDING', executor, run_epoch)",
        to: '',
      },
    ],
  },
  {
    name: 'the epoch is not raised by a claim',
    scenario: 'freeze',
    seconds: 5,
    patches: [
      {
        file: `${MIGRATIONS}/20261130000000_versions/migration.sql`,
        from: 'epoch = w.epoch + 1',
        to: 'epoch = w.epoch',
      },
    ],
  },
  {
    name: 'a checkpoint is not awaited before the next effect',
    scenario: 'kill',
    seconds: 10,
    patches: [
      {
        file: 'libs/dbos/src/engine/workflow-run.ts',
        from: '(hasEffect && this.unconfirmed)',
        to: 'false',
      },
      {
        file: 'libs/dbos/src/engine/workflow-run.ts',
        from: 'while (this.unconfirmed) await this.unconfirmed;',
        to: '',
      },
    ],
  },
  {
    name: 'the lease is ignored',
    scenario: 'queues',
    seconds: 8,
    patches: [
      {
        file: `${MIGRATIONS}/20261101000000_init/migration.sql`,
        from: 'AND (heartbeat_at + lease_ms * interval',
        to: 'AND (heartbeat_at + 450 * interval',
      },
    ],
  },
  {
    name: 'the index of deduplication ids is not unique',
    scenario: 'queues',
    seconds: 6,
    patches: [
      {
        file: `${MIGRATIONS}/20261126000000_queues/migration.sql`,
        from: 'CREATE UNIQUE INDEX workflows_deduplication_idx',
        to: 'CREATE INDEX workflows_deduplication_idx',
      },
    ],
  },
];

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function copyOf(mutant: Mutant): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dbos-mutant-'));
  for (const path of COPIED) await cp(join(ROOT, path), join(directory, path), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  for (const { file, from, to } of mutant.patches) {
    const path = join(directory, file);
    const text = await readFile(path, 'utf8');
    if (!text.includes(from))
      throw new Error(`"${mutant.name}": ${file} has no "${from}" any more.`);
    await writeFile(path, text.replaceAll(from, to));
  }
  return directory;
}

/** What the checker said; undefined when it found nothing. */
async function verdict(
  directory: string,
  mutant: Mutant,
  seed: number,
): Promise<string | undefined> {
  const args = ['--seed', seed, '--seconds', mutant.seconds, '--scenarios', mutant.scenario];
  const child = spawn(
    process.execPath,
    ['--import', './test/support/typescript-loader.mjs', 'test/chaos/main.ts', ...args.map(String)],
    { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'], timeout: PATIENCE_MS },
  );
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((resolve) => child.on('exit', resolve));
  return /^ {2}(\w+: .*)$/m.exec(output)?.[1];
}

async function isCaught(mutant: Mutant): Promise<boolean> {
  const directory = await copyOf(mutant);
  try {
    for (const seed of SEEDS) {
      const found = await verdict(directory, mutant, seed);
      if (found === undefined) continue;
      say(`${mutant.name}: caught by ${mutant.scenario}, seed ${seed}: ${found.slice(0, 200)}`);
      return true;
    }
    say(`${mutant.name}: NOT caught by ${mutant.scenario}, seeds ${SEEDS.join(', ')}`);
    return false;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** All, or those whose names contain the argument. */
const chosen = MUTANTS.filter(({ name }) => name.includes(process.argv[2] ?? ''));
let missed = 0;
for (const mutant of chosen) if (!(await isCaught(mutant))) missed += 1;
say(`${chosen.length - missed} of ${chosen.length} mutants caught`);
process.exitCode = missed === 0 ? 0 : 1;
