// Reads the TypeScript sources below a folder, and the imports each of them states.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface SourceFile {
  /** Relative to the folder that was read, with forward slashes. */
  readonly path: string;
  readonly lines: number;
  readonly imports: readonly SourceImport[];
}

export interface SourceImport {
  readonly specifier: string;
  readonly line: number;
  /** True when nothing of the import is left at run time. */
  readonly typeOnly: boolean;
  /** The imported file, named like `SourceFile.path`; undefined for a package. */
  readonly target: string | undefined;
}

export function readSources(folder: string): SourceFile[] {
  const absolute = join(ROOT, folder);
  return readdirSync(absolute, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => /\.tsx?$/.test(path) && !/\.(spec|d)\.ts$/.test(path))
    .filter(
      (path) => !path.split('/').some((part) => part === 'generated' || part === 'node_modules'),
    )
    .sort()
    .map((path) => readSource(absolute, path));
}

function readSource(folder: string, path: string): SourceFile {
  const text = readFileSync(join(folder, path), 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const imports: SourceImport[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) {
      imports.push({
        specifier,
        line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1,
        typeOnly: isTypeOnly(node),
        target: specifier.startsWith('.') ? targetOf(path, specifier) : undefined,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { path, lines: text.split('\n').length - 1, imports };
}

/** Of `import … from`, `export … from` and `import('…')`. */
function specifierOf(node: ts.Node): string | undefined {
  const named =
    ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
      ? node.moduleSpecifier
      : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
        ? node.arguments[0]
        : undefined;
  return named !== undefined && ts.isStringLiteral(named) ? named.text : undefined;
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  if (!ts.isImportDeclaration(node) || node.importClause === undefined) return false;
  const { phaseModifier, name, namedBindings } = node.importClause;
  if (phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  if (name !== undefined || namedBindings === undefined || !ts.isNamedImports(namedBindings)) {
    return false;
  }
  return namedBindings.elements.every((element) => element.isTypeOnly);
}

function targetOf(path: string, specifier: string): string {
  const target = posix.join(posix.dirname(path), specifier);
  return target.replace(/\.js$/, '.ts');
}

/** The shortest way from a file back to itself along run-time imports; undefined when there is none. */
export function findCycle(files: readonly SourceFile[]): string[] | undefined {
  const edges = new Map(files.map((file) => [file.path, runtimeTargets(file)]));
  for (const start of edges.keys()) {
    const reached = new Map<string, string>();
    const queue = [start];
    for (let from = queue.shift(); from !== undefined; from = queue.shift()) {
      for (const to of edges.get(from) ?? []) {
        if (to === start) return wayBack(reached, start, from);
        if (reached.has(to)) continue;
        reached.set(to, from);
        queue.push(to);
      }
    }
  }
  return undefined;
}

function runtimeTargets(file: SourceFile): string[] {
  return file.imports.flatMap(({ target, typeOnly }) => (target && !typeOnly ? [target] : []));
}

function wayBack(reached: ReadonlyMap<string, string>, start: string, last: string): string[] {
  const way = [start];
  for (let at: string | undefined = last; at !== undefined && at !== start; at = reached.get(at)) {
    way.unshift(at);
  }
  return [start, ...way];
}

/** The folder of a file, for rules on layers: the first part of its path, or '' at the top. */
export function layerOf(path: string): string {
  const [first, ...rest] = path.split('/');
  return first === undefined || rest.length === 0 ? '' : first;
}
