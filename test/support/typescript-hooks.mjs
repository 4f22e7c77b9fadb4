// Node's module hooks behind typescript-loader.mjs: find the .ts file behind an import, and compile it with swc.
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { transform } from '@swc/core';

const root = new URL('../../', import.meta.url);
const tsconfig = JSON.parse(readFileSync(new URL('tsconfig.json', root), 'utf8'));
const aliases = new Map(
  Object.entries(tsconfig.compilerOptions.paths).map(([alias, [file]]) => [
    alias,
    new URL(file, root).href,
  ]),
);

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, nextResolve) {
  const url = aliases.get(specifier) ?? typescriptBeside(specifier, context.parentURL);
  return url === undefined
    ? nextResolve(specifier, context)
    : { url, format: 'module', shortCircuit: true };
}

/** Sources import './x.js' where x.ts is meant; a file that really is JavaScript keeps its own name. */
function typescriptBeside(specifier, parentURL) {
  if (parentURL === undefined || !/^\.{1,2}\/.*\.js$/.test(specifier)) return undefined;
  const asked = new URL(specifier, parentURL);
  const typescript = new URL(asked.href.replace(/\.js$/, '.ts'));
  return !existsSync(asked) && existsSync(typescript) ? typescript.href : undefined;
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context);
  const filename = fileURLToPath(url);
  const { code } = await transform(await readFile(filename, 'utf8'), {
    filename,
    configFile: fileURLToPath(new URL('.swcrc', root)),
  });
  return { format: 'module', source: code, shortCircuit: true };
}
