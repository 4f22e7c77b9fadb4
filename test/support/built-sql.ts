// Finds SQL that is put together as text in sources: everything but tagged templates, whose values become parameters.
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Methods that send a text as it is given. */
const UNSAFE = new Set(['$queryRawUnsafe', '$executeRawUnsafe']);
/** Tags; called like functions they take a text that somebody has built. */
const TAGS = new Set(['$queryRaw', '$executeRaw']);
/** Methods of drivers and sessions, whose first argument is the text. */
const SENDERS = new Set(['query', 'execute', ...UNSAFE]);

/** How a statement begins, in capitals as all of ours are written. */
const STATEMENT =
  /(^|[\s(;'"`])(SELECT |INSERT INTO |UPDATE [\w".$]+|DELETE FROM |LISTEN |NOTIFY |CREATE |DROP |ALTER |GRANT |REVOKE |TRUNCATE |EXECUTE |COPY |SET (LOCAL|SESSION) |WHERE |ORDER BY |LIMIT )/;

/** Without any of these nothing can be found, and parsing takes its time. */
const WORTH_PARSING = /query|execute|Prisma|[A-Z]{4} /;

/** @returns one line for each finding: `file: function: what` */
export function builtSqlIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => /\.(ts|mts|js|mjs)$/.test(path) && !/\.(spec|d)\.ts$/.test(path))
    .filter((path) => !/(^|\/)(generated|node_modules)\//.test(path))
    .sort()
    .flatMap((path) => {
      const text = readFileSync(join(ROOT, folder, path), 'utf8');
      return builtSqlOf(text).map((found) => `${folder}/${path}: ${found}`);
    });
}

export function builtSqlOf(text: string): string[] {
  if (!WORTH_PARSING.test(text)) return [];
  const source = ts.createSourceFile('any.ts', text, ts.ScriptTarget.Latest, true);
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    const what = findingAt(node);
    if (what !== undefined) found.add(`${functionAround(node)}: ${what}`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...found];
}

function findingAt(node: ts.Node): string | undefined {
  if (ts.isCallExpression(node)) return findingAtCall(node);
  const name = ts.isPropertyAccessExpression(node) ? node.name.text : undefined;
  const isRaw = name === 'raw' && node.getText().endsWith('Prisma.raw');
  if (isRaw) return 'Prisma.raw';
  if (isBuilt(node) && STATEMENT.test(literalPartsOf(node))) return 'a statement built as text';
  return undefined;
}

function findingAtCall({ expression, arguments: [first] }: ts.CallExpression): string | undefined {
  const name = calledName(expression);
  if (name === undefined) return undefined;
  if (UNSAFE.has(name)) return name;
  if (TAGS.has(name)) return `${name} called, not a tag`;
  if (SENDERS.has(name) && first && isBuilt(first)) return `${name} of a built text`;
  return undefined;
}

function calledName(expression: ts.Expression): string | undefined {
  if (ts.isPropertyAccessExpression(expression)) return expression.name.text;
  if (!ts.isElementAccessExpression(expression)) return undefined;
  const { argumentExpression: key } = expression;
  return ts.isStringLiteralLike(key) ? key.text : undefined;
}

/** A template with something in it that no tag takes, or texts that are added up. */
function isBuilt(node: ts.Node): boolean {
  if (ts.isTemplateExpression(node)) return !ts.isTaggedTemplateExpression(node.parent);
  return ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken
    ? !isOfLiterals(node)
    : false;
}

/** A long text over several lines. */
function isOfLiterals(node: ts.Expression): boolean {
  if (!ts.isBinaryExpression(node)) return ts.isStringLiteralLike(node);
  return isOfLiterals(node.left) && isOfLiterals(node.right);
}

function literalPartsOf(node: ts.Node): string {
  const parts: string[] = [];
  const visit = (part: ts.Node): void => {
    const isText =
      ts.isStringLiteralLike(part) ||
      part.kind === ts.SyntaxKind.TemplateHead ||
      part.kind === ts.SyntaxKind.TemplateMiddle ||
      part.kind === ts.SyntaxKind.TemplateTail;
    if (isText) parts.push((part as ts.LiteralLikeNode).text);
    ts.forEachChild(part, visit);
  };
  visit(node);
  return parts.join(' ');
}

function functionAround(node: ts.Node): string {
  for (let at = node; !ts.isSourceFile(at); at = at.parent) {
    const name = nameOf(at);
    if (name) return name.getText();
  }
  return '(top)';
}

function nameOf(node: ts.Node): ts.Node | undefined {
  const isNamed =
    ts.isFunctionDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isVariableDeclaration(node);
  return isNamed ? node.name : undefined;
}
