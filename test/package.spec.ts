// The package as `npm run build` makes it of the compiled library: few files, and what can be seen of it is as in the sources.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as sources from 'nestjs-dbos';
import ts from 'typescript';
import { readSources } from './support/source-files.js';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const SOURCES = join(ROOT, 'libs/dbos/src');
const { scripts } = readJson(join(ROOT, 'package.json'));

/** Below the root, where it finds the packages that it needs. */
let folder: string;

beforeAll(() => {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  folder = mkdtempSync(join(ROOT, 'dist/package-'));
  compile();
  cpSync(join(ROOT, 'libs/dbos/package.json'), join(folder, 'package.json'));
  for (const migrations of ['prisma/migrations', 'prisma/migrations-application'])
    cpSync(join(SOURCES, migrations), join(folder, migrations), { recursive: true });
  const [, script, , ...entryPoints] = scripts['build:bundle'].split(' ');
  node(ROOT, script, folder, ...entryPoints);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function readJson(path: string) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** As `nest build dbos` does, but file by file and without a look at types: that is done elsewhere, and takes its time. */
function compile(): void {
  const config = join(ROOT, 'libs/dbos/tsconfig.lib.json');
  const { options } = ts.getParsedCommandLineOfConfigFile(
    config,
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: ({ messageText }) => {
        throw new Error(ts.flattenDiagnosticMessageText(messageText, '\n'));
      },
    },
  )!;
  for (const { path } of readSources('libs/dbos/src')) {
    const fileName = join(SOURCES, path);
    const { outputText, sourceMapText } = ts.transpileModule(readFileSync(fileName, 'utf8'), {
      fileName,
      compilerOptions: { ...options, module: ts.ModuleKind.ES2022, sourceRoot: SOURCES },
    });
    const target = join(folder, path.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, outputText);
    writeFileSync(`${target}.map`, sourceMapText ?? '');
  }
}

function filesOf(end: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => path.endsWith(end));
}

/** What it prints. */
function node(cwd: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}.\n${stderr}`);
  return stdout;
}

/** What an application gets that imports the package: the value of an expression of `main` and `terminus`. */
function seen(expression: string, ...options: string[]): unknown {
  const program = `
    import 'reflect-metadata';
    import * as main from './index.js';
    import * as terminus from './nest/terminus.js';
    process.stdout.write(JSON.stringify(${expression}));
  `;
  return JSON.parse(node(folder, ...options, '--input-type=module', '--eval', program));
}

describe('The package', () => {
  it('is bundled when it is built, between the compiler and the files that go beside', () => {
    expect(scripts.build).toMatch(/nest build dbos && npm run build:bundle && /);
  });

  it('is a file for each entry point and a few that these share', () => {
    const files = filesOf('.js');
    const shared = files.filter((path) => path.startsWith('prisma/shared-'));
    const others = files.filter((path) => !shared.includes(path));

    expect(others.sort()).toEqual(['cli/main.js', 'index.js', 'nest/terminus.js']);
    expect(shared.length).toBeLessThanOrEqual(4);
  });

  it('has a map for each of them and no other', () => {
    expect(filesOf('.js.map').sort()).toEqual(
      filesOf('.js')
        .map((path) => `${path}.map`)
        .sort(),
    );
  });

  it('has what its manifest names', () => {
    const { exports, bin } = readJson(join(folder, 'package.json'));
    const named = [exports['.'].default, exports['./terminus'].default, bin['nestjs-dbos']];
    const there = named.map((path) => readFileSync(join(folder, path), 'utf8').length > 0);
    expect(there).toEqual([true, true, true]);
  });

  it('brings the migrations of both kinds of databases', () => {
    const npm = ['pack', '--dry-run', '--json', '--ignore-scripts'];
    const windows = process.platform === 'win32';
    const options = { cwd: folder, encoding: 'utf8', shell: windows } as const;
    const [{ files }] = JSON.parse(spawnSync('npm', npm, options).stdout);
    const paths: string[] = files.map(({ path }: { path: string }) => path);
    const shipped = (below: string) =>
      new Set(
        paths.filter((path) => path.startsWith(`${below}/`)).map((path) => path.split('/')[2]),
      );

    for (const set of ['prisma/migrations', 'prisma/migrations-application'])
      expect(shipped(set)).toEqual(new Set(readdirSync(join(SOURCES, set))));
  });

  it('exports all that the sources do, by the names that errors and providers go by', () => {
    const nameOf = (value: unknown) => (typeof value === 'function' ? value.name : typeof value);
    const names = Object.entries(sources).map(([key, value]) => [key, nameOf(value)]);

    const exported = seen(`Object.entries(main).map(
      ([key, value]) => [key, typeof value === 'function' ? value.name : typeof value])`);

    expect(exported).toEqual(expect.arrayContaining(names));
    expect(exported).toHaveLength(names.length);
  });

  it('has each class once for all entry points, with the types that its constructor asks for', () => {
    const needs = "Reflect.getMetadata('design:paramtypes', terminus.DbosHealthIndicator)";
    expect(seen(`${needs}[0] === main.DbosHealth`)).toBe(true);
  });

  it('leads from a stack to the TypeScript', () => {
    const thrown = `(() => {
      try {
        main.DbosModule.registerQueue({ name: 5 });
      } catch (error) {
        return error.stack;
      }
    })()`;

    const stack = String(seen(thrown, '--enable-source-maps')).replaceAll(sep, '/');

    const [, path, line] = /(libs\/dbos\/src\/[\w/-]+\.ts):(\d+)/.exec(stack) ?? [];
    expect(path).toBe('libs/dbos/src/core/identifiers.ts');
    const lines = readFileSync(join(ROOT, String(path)), 'utf8').split('\n');
    expect(lines[Number(line) - 1]).toContain('throw new InvalidArgumentError');
  });

  it.each([
    ['workflow tables', [], 'CREATE TABLE dbos.workflows'],
    ['a database apart', ['--application'], 'CREATE TABLE dbos.transaction_completions'],
  ])('finds its migrations: those of %s', (_of, options, statement) => {
    expect(node(folder, 'cli/main.js', 'sql', ...options)).toContain(statement);
  });

  it('has a program that a shell can start', () => {
    const path = join(folder, 'cli/main.js');
    const isExecutable = process.platform === 'win32' || (statSync(path).mode & 0o111) === 0o111;

    expect(readFileSync(path, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    expect(isExecutable).toBe(true);
  });
});
