/** The fast path: values that are JSON data already, and their serializer. */
import { types } from 'node:util';
import { PLAIN_JSON_FORMAT, type Serializer } from './format.js';
import { MAX_DEPTH } from './limits.js';
import { UndecodableValueError } from './serialization-error.js';

/** Writes JSON data as JSON. Only for values that `isPlainJson` accepts; anything else would be changed silently. */
export const plainJsonSerializer: Serializer = {
  name: PLAIN_JSON_FORMAT,
  serialize: (value) => JSON.stringify(value),
  deserialize: parse,
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Without the parser's message, which would quote the text.
    throw new UndecodableValueError(PLAIN_JSON_FORMAT, 'it is not valid JSON');
  }
}

/**
 * Whether JSON keeps `value` exactly: null, booleans, strings, finite numbers except -0, and trees of ordinary
 * arrays and objects of those. False for whatever needs the rich path or a refusal. No getter of an object is run;
 * items of arrays are read without looking for one, because asking costs more than the rest of the walk.
 *
 * An object that occurs twice needs the rich path as well: two copies would not stay one object.
 */
export function isPlainJson(value: unknown): boolean {
  return isPlain(value, 0, undefined);
}

function isPlain(value: unknown, depth: number, seen: Set<object> | undefined): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0);
    case 'object':
      return value === null || isPlainContainer(value, depth + 1, seen ?? new Set());
    default:
      return false;
  }
}

function isPlainContainer(container: object, depth: number, seen: Set<object>): boolean {
  if (depth > MAX_DEPTH || seen.has(container) || types.isProxy(container)) return false;
  seen.add(container);
  return Array.isArray(container)
    ? isPlainArray(container, depth, seen)
    : isPlainObject(container, depth, seen);
}

function isPlainArray(array: readonly unknown[], depth: number, seen: Set<object>): boolean {
  if (Object.getPrototypeOf(array) !== Array.prototype) return false;
  // As many keys as items: no extra properties. (A hole fails below, as undefined.)
  if (Object.keys(array).length !== array.length) return false;
  if (Object.getOwnPropertySymbols(array).length > 0) return false;
  for (let index = 0; index < array.length; index += 1) {
    if (!isPlain(array[index], depth, seen)) return false;
  }
  return true;
}

function isPlainObject(object: object, depth: number, seen: Set<object>): boolean {
  if (Object.getPrototypeOf(object) !== Object.prototype) return false;
  if (Object.getOwnPropertySymbols(object).length > 0) return false;
  for (const key of Object.getOwnPropertyNames(object)) {
    if (key === '__proto__') return false;
    // The descriptor, not the property: a getter must not run (and has no value), and JSON would skip what is not
    // enumerable.
    const property = Object.getOwnPropertyDescriptor(object, key);
    if (!property?.enumerable) return false;
    if (!isPlain(property.value, depth, seen)) return false;
  }
  return true;
}
