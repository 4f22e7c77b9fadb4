/**
 * Compiles the bench together with a copy of the library, so that both see one Nest and one Prisma: those installed
 * here. The copy is bundled as the package is. `LIBRARY=<folder with dbos/ and embedded-postgres/>` measures another
 * copy of the tree.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const here = import.meta.dirname;
const libraries = resolve(process.env.LIBRARY ?? join(here, '..', 'libs'));
const copies = join(here, 'generated');

rmSync(join(here, 'dist'), { recursive: true, force: true });
for (const [library, copy] of [
  ['dbos', 'nestjs-dbos'],
  ['embedded-postgres', 'embedded-postgres'],
]) {
  rmSync(join(copies, copy), { recursive: true, force: true });
  cpSync(join(libraries, library, 'src'), join(copies, copy), { recursive: true });
}
run('prisma', 'generate');
run('tsc');
const library = join(here, 'dist/generated/nestjs-dbos');
run('node', join(here, '../libs/dbos/scripts/bundle.mjs'), library, 'index.js', 'cli/main.js');
cpSync(join(copies, 'nestjs-dbos/prisma/migrations'), join(library, 'prisma/migrations'), {
  recursive: true,
});

/** Quiet when all is well: what it printed is shown only when it fails. */
function run(program, ...args) {
  const path = [join(here, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH];
  try {
    execFileSync(program, args, {
      cwd: here,
      env: { ...process.env, PATH: path.join(process.platform === 'win32' ? ';' : ':') },
      shell: process.platform === 'win32',
      stdio: 'pipe',
    });
  } catch (error) {
    process.stderr.write(`${error.stdout}${error.stderr}`);
    process.exit(1);
  }
}
