// Proves the checker: takes a guard out of a copy of the sources, and sees the scenarios tell of it. Exits with 1 where a
// mutant went unnoticed.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Mutant {
  readonly name: string;
  /** `leaks` is a program of its own. */
  readonly scenario: string;
  readonly seconds: number;
  /** What is replaced, everywhere. */
  readonly patches: readonly Patch[];
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['libs', 'test', 'sample-app', 'tsconfig.json', '.swcrc', 'package.json'];
const MIGRATIONS = 'libs/dbos/src/prisma/migrations';
/** A mutant is found by chance, so it is tried with a few seeds. */
const SEEDS = [1, 2, 3];
const PATIENCE_MS = 240_000;

interface Patch {
  /** A file, or the folder of the migrations: then each of them that has it. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** Wherever the schema says so: a function may have been made anew by a later migration. */
const inSchema = (from: string, to: string): Patch => ({ file: MIGRATIONS, from, to });

const FENCES = {
  batch: 'locked.executor_id = run.executor_id AND locked.epoch = run.epoch',
  alone: 'locked.executor_id = executor AND locked.epoch = run_epoch',
  end: "(w.status, w.executor_id, w.epoch) IS NOT DISTINCT FROM ('PENDING', executor, run_epoch)",
  transaction: 'w.executor_id = run_executor AND w.epoch = run_epoch',
};

const MUTANTS: readonly Mutant[] = [
  {
    name: 'the fence is gone',
    scenario: 'freeze',
    seconds: 12,
    patches: [
      inSchema(`locked.status = 'PENDING' AND ${FENCES.batch}`, 'true'),
      inSchema(`locked.status = 'PENDING' AND ${FENCES.alone}`, 'true'),
      inSchema(`AND ${FENCES.end}`, ''),
      inSchema(`AND w.status = 'PENDING' AND ${FENCES.transaction}`, ''),
    ],
  },
  {
    name: 'the epoch is not compared',
    scenario: 'control',
    seconds: 12,
    patches: [
      inSchema(FENCES.batch, 'locked.executor_id = run.executor_id'),
      inSchema(FENCES.alone, 'locked.executor_id = executor'),
      inSchema(FENCES.end, "(w.status, w.executor_id) IS NOT DISTINCT FROM ('PENDING', executor)"),
      inSchema(FENCES.transaction, 'w.executor_id = run_executor'),
    ],
  },
  {
    name: 'the epoch is not raised by a claim',
    scenario: 'freeze',
    seconds: 5,
    patches: [inSchema('epoch = w.epoch + 1', 'epoch = w.epoch')],
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
      inSchema('AND (heartbeat_at + lease_ms * interval', 'AND (heartbeat_at + 450 * interval'),
    ],
  },
  {
    name: 'the index of deduplication ids is not unique',
    scenario: 'queues',
    seconds: 6,
    patches: [
      inSchema(
        'CREATE UNIQUE INDEX workflows_deduplication_idx',
        'CREATE INDEX workflows_deduplication_idx',
      ),
    ],
  },
  {
    name: 'every run is kept',
    scenario: 'leaks',
    seconds: 40,
    patches: [
      {
        file: 'libs/dbos/src/engine/executor.ts',
        from: '  private remove(run: WorkflowRun): void {',
        to: '  private readonly kept = new Set<WorkflowRun>();\n\n  private remove(run: WorkflowRun): void {\n    this.kept.add(run);',
      },
    ],
  },
];

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function copyOf(mutant: Mutant): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'dbos-mutant-'));
  for (const path of COPIED) await cp(join(ROOT, path), join(directory, path), { recursive: true });
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  for (const patch of mutant.patches) await apply(patch, directory, mutant.name);
  return directory;
}

async function apply({ file, from, to }: Patch, directory: string, name: string): Promise<void> {
  let count = 0;
  for (const path of await filesOf(join(directory, file))) {
    const text = await readFile(path, 'utf8');
    if (!text.includes(from)) continue;
    count += 1;
    await writeFile(path, text.replaceAll(from, to));
  }
  if (count === 0) throw new Error(`"${name}": ${file} has no "${from}" any more.`);
}

async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true });
  return entries.filter((entry) => entry.endsWith('.sql')).map((entry) => join(path, entry));
}

/** What the checker said; undefined when it found nothing. */
async function verdict(
  directory: string,
  mutant: Mutant,
  seed: number,
): Promise<string | undefined> {
  const { scenario, seconds } = mutant;
  const program = scenario === 'leaks' ? ['leaks.ts'] : ['main.ts', '--scenarios', scenario];
  const args = [...program, '--seed', seed, '--seconds', seconds].map(String);
  const child = spawn(
    process.execPath,
    ['--import', './test/support/typescript-loader.mjs', `test/chaos/${args[0]}`, ...args.slice(1)],
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
