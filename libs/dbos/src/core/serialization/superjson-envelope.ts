/**
 * Checks the text of the superjson format before superjson acts on it.
 *
 * superjson follows the paths of its metadata wherever they lead. Text that was changed by hand could make it
 * allocate an array of four billion items, or hand out built-in functions as data. Metadata that we wrote only ever
 * names parts that exist, and few kinds of them; anything else is refused here.
 */
import { damaged } from './damage.js';
import { MAX_DEPTH } from './limits.js';

/** What superjson's `serialize` returns, less the references, which we keep ourselves. */
export interface SuperjsonEnvelope {
  readonly json: unknown;
  readonly meta?: { readonly values: unknown; readonly v: 1 };
}

/** Under this name `Tagged` is registered with superjson. */
export const TAGGED_CLASS = 'tagged';

const TYPES: ReadonlySet<unknown> = new Set([
  'undefined',
  'bigint',
  'number',
  'Date',
  'URL',
  'map',
  'set',
]);

/**
 * The envelope in a parsed text.
 * @throws when it is none that we write
 */
export function checkedEnvelope(parsed: unknown): SuperjsonEnvelope {
  if (!isRecord(parsed) || !Object.hasOwn(parsed, 'json')) throw damaged('it is no superjson text');
  const { json, meta } = parsed;
  if (!Object.hasOwn(parsed, 'meta')) return { json };
  if (
    !isRecord(meta) ||
    meta['v'] !== 1 ||
    Object.keys(meta).some((key) => key !== 'v' && key !== 'values')
  ) {
    throw damaged('its metadata is not what this library writes');
  }
  checkTree(json, meta['values'], 0);
  return { json, meta: { values: meta['values'], v: 1 } };
}

/** A node of the metadata: `[type]`, `[type, children]` or just the children, by path. */
function checkTree(json: unknown, tree: unknown, depth: number): void {
  if (depth > MAX_DEPTH) throw damaged('its metadata is nested too deeply');
  if (!Array.isArray(tree)) return checkChildren(json, tree, depth);
  const [type, children] = tree as [unknown, unknown];
  if (!isKnownType(type)) throw damaged('its metadata names an unknown type');
  if (children !== undefined) checkChildren(json, children, depth);
}

function checkChildren(json: unknown, children: unknown, depth: number): void {
  if (!isRecord(children)) throw damaged('its metadata is damaged');
  for (const [path, tree] of Object.entries(children)) {
    const keys = parsePath(path);
    checkTree(follow(json, keys), tree, depth + keys.length);
  }
}

function isKnownType(type: unknown): boolean {
  if (!Array.isArray(type)) return TYPES.has(type);
  return type.length === 2 && type[0] === 'class' && type[1] === TAGGED_CLASS;
}

/** The part of `json` at a path that has to exist, item by item and property by property. */
function follow(json: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((at, key) => {
    const exists = typeof at === 'object' && at !== null && Object.hasOwn(at, key);
    if (!exists || (Array.isArray(at) && key === 'length'))
      throw damaged('its metadata points nowhere');
    return (at as Record<string, unknown>)[key];
  }, json);
}

/** superjson's own notation: keys separated by dots, with dots and backslashes in keys escaped by a backslash. */
function parsePath(path: string): string[] {
  if (!path.includes('\\')) return path.split('.');
  const keys = [''];
  for (const [, escaped, separator, text] of path.matchAll(/\\(.)|(\.)|([^\\.]+)/gs)) {
    if (separator) keys.push('');
    else keys.push((keys.pop() ?? '') + (escaped ?? text));
  }
  return keys;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
