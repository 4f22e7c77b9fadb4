// Makes a few files of the compiled library, in place, since to find and load hundreds takes a process longer than all
// else that we do at its start: `node bundle.mjs <folder> <entry point>...`, with the esbuild of the working directory.
//
// It takes what tsc wrote, as only tsc knows the types that decorators record. What several entry points need lies in
// files that they share, so that a class is the same for all of them.
import { chmodSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

const [folder, ...entryPoints] = process.argv.slice(2);
const { build } = createRequire(resolve('package.json'))('esbuild');

/** Looks for the migrations beside the file in which it ends up. */
const FINDS_MIGRATIONS = 'prisma/migration-files.js';

const { metafile } = await build({
  absWorkingDir: resolve(folder),
  entryPoints,
  outdir: '.',
  outbase: '.',
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  chunkNames: 'prisma/shared-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'es2023',
  packages: 'external',
  plugins: [{ name: 'class-names', setup: keepClassNames }],
  sourcemap: true,
  metafile: true,
  logLevel: 'warning',
});

// A folder that is a bundle already has no such file, and ends here as well.
const [home] = Object.entries(metafile.outputs).find(
  ([, { inputs }]) => FINDS_MIGRATIONS in inputs,
);
if (dirname(home) !== 'prisma')
  throw new Error(
    `${FINDS_MIGRATIONS} is in ${home}: it would look for the migrations beside that.`,
  );

for (const file of readdirSync(folder, { recursive: true })) {
  const path = file.replaceAll('\\', '/');
  if (/\.js(\.map)?$/.test(path) && !(path in metafile.outputs)) rmSync(join(folder, file));
}

for (const path of entryPoints.map((entryPoint) => join(folder, entryPoint)))
  if (readFileSync(path, 'utf8').startsWith('#!')) chmodSync(path, 0o755);

/**
 * Errors go by the name of their class, in the database too, and providers by that of theirs, but esbuild renames
 * classes. Its own `keepNames` would name functions as well, each time one is made: most of a microsecond for every
 * closure that a workflow needs.
 */
function keepClassNames({ onLoad }) {
  const head = /^(?:export )?(?:let \w+ = (?:\w+ = )?)?class (\w+)(?: extends .+)? \{$/gm;
  onLoad({ filter: /\.js$/ }, async ({ path }) => ({
    contents: (await readFile(path, 'utf8')).replaceAll(
      head,
      `$& static { Object.defineProperty(this, 'name', { value: '$1' }); }`,
    ),
  }));
}
