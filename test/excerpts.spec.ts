// What the pages show of the sample shop is what stands there: a block that follows the link to a file is an excerpt of it.
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
/** A line that ends with the link to a source of the shop, in brackets, and a colon; then the block. */
const EXCERPT = /\]\(((?:\.\.\/)?sample-app\/src\/[^)]+\.ts)\)\):\n\n```ts\n(.*?)```/gs;
const LEFT_OUT = '…';

const read = (path: string): string => readFileSync(`${ROOT}${path}`, 'utf8');

/** Without indentation, comments and empty lines, which a page may set as it likes. */
function linesOf(code: string): string[] {
  const withoutBlocks = code.replaceAll(/\/\*\*.*?\*\//gs, '');
  const lines = withoutBlocks.split('\n').map((line) => line.replace(/ *\/\/ .*$/, '').trim());
  return lines.filter((line) => line !== '');
}

/** The first line that does not stand in the source where it should: next to the one before, or after what was left out. */
function strayLine(excerpt: readonly string[], source: readonly string[]): string | undefined {
  let [next, mayJump] = [0, true];
  for (const line of excerpt) {
    if (line === LEFT_OUT) {
      mayJump = true;
      continue;
    }
    const found = mayJump ? source.indexOf(line, next) : next;
    if (source[found] !== line) return line;
    [next, mayJump] = [found + 1, false];
  }
  return undefined;
}

const pages = ['README.md', ...readdirSync(`${ROOT}docs`).map((name) => `docs/${name}`)];
const excerpts = pages
  .filter((page) => page.endsWith('.md'))
  .flatMap((page) =>
    [...read(page).matchAll(EXCERPT)].map(([, link = '', code = '']) => ({
      page,
      source: posix.join(posix.dirname(page), link),
      code,
    })),
  );

describe('Excerpts of the sample shop', () => {
  it('are found', () => expect(excerpts.length).toBeGreaterThanOrEqual(5));

  it.each(excerpts)('in $page are what stands in $source', ({ source, code }) => {
    expect(strayLine(linesOf(code), linesOf(read(source)))).toBeUndefined();
  });
});
