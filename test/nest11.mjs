// Runs the end-to-end tests on Nest 11, in a copy of this tree: `npm run test:nest11 [-- <arguments for Jest>]`.
//
// Nest 12 is what the tree itself is installed with; Nest 11 is CommonJS, orders its hooks otherwise, and must do.
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEST_11 = {
  '@nestjs/common': '11.2.10',
  '@nestjs/config': '4.0.4',
  '@nestjs/core': '11.2.10',
  '@nestjs/platform-express': '11.2.10',
  '@nestjs/platform-fastify': '11.2.8',
  '@nestjs/swagger': '11.4.6',
  '@nestjs/terminus': '11.1.1',
  '@nestjs/testing': '11.2.6',
};

/** Needs no Nest, and would need one of its own version. */
const LEFT_OUT = ['@nestjs/cli', '@nestjs/schematics', 'oxlint', 'oxlint-tsgolint', 'prettier'];

/** Tests that build the packages with the Nest CLI, which is left out. */
const BUILDING = ['sample-app.spec', 'command-line.spec'];

/** Tests that import the sample shop (the last part of input-fuzz does), which validates with a pipe of Nest 12. */
const OF_THE_SHOP = ['input-fuzz.spec', 'order-progress.spec'];

const NOT_RUN = [...BUILDING, ...OF_THE_SHOP];

const TYPECHECKED = 'tsconfig.nest11.json';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NOT_COPIED = new Set(['node_modules', 'dist', 'coverage', '.git', '.postgres', 'bench']);

const copy = await mkdtemp(join(tmpdir(), 'nestjs-dbos-nest11-'));
try {
  await copyTree();
  await useNest11();
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error']);
  run('npm', ['run', '--silent', 'generate']);
  run('npm', ['exec', '--', 'tsc', '--noEmit', '--project', TYPECHECKED]);
  const ignored = `--testPathIgnorePatterns=${NOT_RUN.join('|')}`;
  const chosen = process.argv.slice(2);
  const tests = chosen.length > 0 ? chosen : ['test/e2e', ignored];
  run('npm', ['run', '--silent', 'test:only', '--', ...tests]);
} finally {
  await rm(copy, { recursive: true, force: true });
}

async function copyTree() {
  await cp(ROOT, copy, {
    recursive: true,
    filter: (source) =>
      !relative(ROOT, source)
        .split(sep)
        .some((part) => NOT_COPIED.has(part)),
  });
}

/** The lock speaks of Nest 12, so the copy goes without. */
async function useNest11() {
  await rm(join(copy, 'package-lock.json'), { force: true });
  const file = join(copy, 'package.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  for (const group of [manifest.dependencies, manifest.devDependencies]) {
    for (const name of Object.keys(group)) {
      if (NEST_11[name]) group[name] = NEST_11[name];
      if (LEFT_OUT.includes(name)) delete group[name];
    }
  }
  await writeFile(file, JSON.stringify(manifest, null, 2));
  const project = {
    extends: './tsconfig.json',
    include: ['libs', 'test'],
    exclude: [
      'node_modules',
      'test/support/shop-program.ts',
      ...NOT_RUN.map((spec) => `test/e2e/${spec}.ts`),
    ],
  };
  await writeFile(join(copy, TYPECHECKED), JSON.stringify(project));
}

/** Shows what the command says; ends this script with its exit code when it fails. */
function run(command, args) {
  process.stdout.write(`\n> ${command} ${args.join(' ')}\n`);
  const { status } = spawnSync(command, args, { cwd: copy, stdio: 'inherit' });
  if (status === 0) return;
  process.exitCode = status ?? 1;
  throw new Error(`${command} ${args[0]} failed on Nest 11.`);
}
