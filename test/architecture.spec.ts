// The import rules of docs/architecture.md, read off the sources: the path tells the layer.
import {
  findCycle,
  layerOf,
  readSources,
  type SourceFile,
  type SourceImport,
} from './support/source-files.js';

const SOURCES = 'libs/dbos/src';
const MOST_LINES = 400;

type Layer = 'core' | 'repository' | 'engine' | 'prisma' | 'nest' | 'cli';

/** What a layer may import besides itself. */
const BELOW: Record<Layer, readonly Layer[]> = {
  core: [],
  repository: ['core'],
  engine: ['repository', 'core'],
  prisma: ['repository', 'core'],
  nest: ['engine', 'repository', 'core'],
  // The command line migrates a database without an application around it.
  cli: ['prisma', 'core'],
};

const LAYERS = Object.entries(BELOW).map(([layer, below]) => ({
  layer,
  allowed: [layer, ...below],
}));

/** The one file of nest/ that may know the adapter: it wires it to the engine. */
const WIRING = 'nest/dbos.module.ts';

const files = readSources(SOURCES);

/** One readable line per import that a rule refuses. */
function refused(rule: (file: SourceFile, used: SourceImport) => boolean): string[] {
  return files.flatMap((file) =>
    file.imports
      .filter((used) => rule(file, used))
      .map((used) => `${SOURCES}/${file.path}:${used.line} imports '${used.specifier}'`),
  );
}

function isPackage(used: SourceImport, scope: string): boolean {
  return used.specifier.startsWith(`${scope}/`);
}

describe('The layers of nestjs-dbos', () => {
  it('are the folders of src, with nothing but entry points above them', () => {
    const folders = new Set(
      files.map((file) => layerOf(file.path)).filter((layer) => layer !== ''),
    );
    expect([...folders].filter((folder) => !(folder in BELOW))).toEqual([]);
  });

  it.each(LAYERS)('let $layer import only $allowed', ({ layer, allowed }) => {
    const outside = refused(({ path }, { target }) => {
      if (layerOf(path) !== layer || target === undefined) return false;
      if (path === WIRING && layerOf(target) === 'prisma') return false;
      return !allowed.includes(layerOf(target));
    });
    expect(outside).toEqual([]);
  });

  it('keep Nest in nest/', () => {
    expect(
      refused(({ path }, used) => isPackage(used, '@nestjs') && layerOf(path) !== 'nest'),
    ).toEqual([]);
  });

  it('keep Prisma in prisma/sql.ts', () => {
    expect(
      refused(({ path }, used) => isPackage(used, '@prisma') && path !== 'prisma/sql.ts'),
    ).toEqual([]);
  });

  it('keep OpenTelemetry in nest/telemetry/, which finds it at run time, if it is there', () => {
    const finder = 'nest/telemetry/open-telemetry.ts';
    const isAllowed = (path: string, { typeOnly }: SourceImport): boolean =>
      path === finder || (typeOnly && path.startsWith('nest/telemetry/'));
    expect(
      refused(({ path }, used) => isPackage(used, '@opentelemetry') && !isAllowed(path, used)),
    ).toEqual([]);
  });

  it('never import their own package by its name', () => {
    expect(refused((_, { specifier }) => /^nestjs-dbos(\/|$)/.test(specifier))).toEqual([]);
  });
});

describe('The sources', () => {
  it('import files by their full name, which Node and the rules above rely on', () => {
    const known = new Set(files.map((file) => file.path));
    expect(refused((_, { target }) => target !== undefined && !known.has(target))).toEqual([]);
  });

  it('have no import cycle', () => {
    expect(findCycle(files)?.join(' -> ')).toBeUndefined();
  });

  it.each(['libs', 'sample-app'])(`have no file over ${MOST_LINES} lines in %s`, (folder) => {
    const long = readSources(folder).filter((file) => file.lines > MOST_LINES);
    expect(long.map((file) => `${folder}/${file.path}: ${file.lines} lines`)).toEqual([]);
  });
});
