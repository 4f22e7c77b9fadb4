// decode(encode(x)) is x: in every part, in what is one object and what are two, and in its prototypes.
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { SerializerSet } from './serializer.js';

const serializers = new SerializerSet();

/** `FUZZ_RUNS=20000 FUZZ_SEED=…` for more of it, or for the seed that a failure has printed. */
const FUZZ = {
  numRuns: Number(process.env['FUZZ_RUNS'] ?? 1_500),
  ...(process.env['FUZZ_SEED'] && { seed: Number(process.env['FUZZ_SEED']) }),
};

function roundTrip<T>(value: T): T {
  return serializers.decode(serializers.encode(value)) as T;
}

/** Stricter than any matcher: it tells -0 from 0, one object from two, and the order of keys and entries. */
function difference(
  a: unknown,
  b: unknown,
  pairs = new Map<unknown, unknown>(),
  path = 'value',
): string | undefined {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) {
    return Object.is(a, b) ? undefined : `${path}: ${String(a)} is not ${String(b)}`;
  }
  if (pairs.has(a) || pairs.has(b))
    return pairs.get(a) === b && pairs.get(b) === a ? undefined : `${path}: another object`;
  pairs.set(a, b).set(b, a);
  if (
    Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) &&
    !(a instanceof Error && b instanceof Error)
  )
    return `${path}: another prototype`;
  const [partsOfA, partsOfB] = [parts(a), parts(b)];
  if (partsOfA.length !== partsOfB.length)
    return `${path}: ${partsOfA.length} parts, not ${partsOfB.length}`;
  for (const [index, part] of partsOfA.entries()) {
    const found = difference(part, partsOfB[index], pairs, `${path}/${index}`);
    if (found) return found;
  }
  return undefined;
}

/** Everything that can be seen of an object, in order. */
function parts(object: object): unknown[] {
  if (object instanceof Date) return [object.getTime()];
  if (object instanceof RegExp) return [object.source, object.flags, object.lastIndex];
  if (object instanceof URL) return [object.href];
  if (object instanceof ArrayBuffer) return [Buffer.from(object).toString('hex')];
  if (ArrayBuffer.isView(object))
    return [Buffer.from(object.buffer, object.byteOffset, object.byteLength).toString('hex')];
  if (object instanceof Map) return [...object].flat();
  if (object instanceof Set) return [...object];
  const own = Object.keys(object).filter((key) => !(object instanceof Error && key === 'name'));
  const properties = own.flatMap((key) => [
    key,
    Object.getOwnPropertyDescriptor(object, key)?.value as unknown,
  ]);
  if (!(object instanceof Error)) return properties;
  const errors = (object as { errors?: unknown }).errors;
  return [
    object.name,
    object.message,
    object.stack,
    'cause' in object,
    object.cause,
    errors,
    ...properties,
  ];
}

/** Keys that superjson or careless code would trip over. */
const HOSTILE_KEYS = [
  '__proto__', 'constructor', 'prototype', 'toString', 'toJSON', 'then', 'length', '', '0', '1', '-1', '01', '4294967295',
  'a.b', '.', '..', 'a\\', '\\', '\\.', 'a\\.b', 'json', 'meta', 'values', 'type', 'data', 'v', '\u0000', '\ud800', '\u2028',
]; // prettier-ignore

const codeUnits = fc
  .array(fc.integer({ min: 0, max: 0xffff }))
  .map((units) => String.fromCharCode(...units));
const text = fc.oneof(fc.string(), codeUnits, fc.constantFrom(...HOSTILE_KEYS));
const bytes = fc.uint8Array({ maxLength: 20 });
const TYPED_ARRAYS = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array,
  BigInt64Array, BigUint64Array,
]; // prettier-ignore

const leaf = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(text, fc.boolean(), fc.integer(), fc.double()) },
  fc.constantFrom(
    null,
    undefined,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -0,
  ),
  fc.bigInt(),
  fc.date({ noInvalidDate: false }),
  fc
    .constantFrom('a/b', '', '[\\]/]', '\n', '\\/', '(?<n>.)')
    .chain((source) =>
      fc
        .constantFrom('', 'g', 'iu', 'sy')
        .map((flags) => Object.assign(new RegExp(source, flags), { lastIndex: 0 })),
    ),
  fc.webUrl({ withFragments: true, withQueryParameters: true }).map((url) => new URL(url)),
  bytes.map((array) => Buffer.from(array)),
  bytes.map((array) => array.slice().buffer),
  fc
    .tuple(fc.constantFrom(...TYPED_ARRAYS), bytes)
    .map(
      ([TypedArray, array]) =>
        new TypedArray(array.slice(0, array.length - (array.length % 8)).buffer),
    ),
  fc.constant(new Float64Array([Number.NaN, -0, Infinity])),
);

function withProperties<T extends object>(
  object: T,
  entries: readonly (readonly [string, unknown])[],
): T {
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
}

const STANDARD = new Set(['name', 'message', 'stack', 'cause', 'code']);

const { value: tree } = fc.letrec<{
  value: unknown;
  entries: (readonly [string, unknown])[];
  items: unknown[];
}>((tie) => ({
  entries: fc.array(fc.tuple(text, tie('value')), { maxLength: 4 }),
  items: fc.array(tie('value'), { maxLength: 4 }),
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    leaf,
    tie('items'),
    tie('entries').map((entries) => withProperties({}, entries)),
    tie('entries').map((entries) => withProperties(Object.create(null) as object, entries)),
    fc
      .array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 })
      .map((entries) => new Map(entries)),
    tie('items').map((items) => new Set(items)),
    fc.tuple(codeUnits, tie('value'), tie('entries')).map(([message, cause, fields]) =>
      withProperties(
        new TypeError(message, { cause }),
        fields.filter(([key]) => !STANDARD.has(key)),
      ),
    ),
    fc
      .tuple(tie('items'), text)
      .map(([errors, code]) => Object.assign(new AggregateError(errors, 'm'), { code })),
    // What superjson's own text looks like, as data.
    tie('value').map((json) => ({
      json,
      meta: { values: ['Date', { a: ['class', 'tagged'] }], v: 1 },
    })),
    tie('value').map((data) => ({ type: 'Buffer', data })),
  ),
}));

/** Every object reachable from `value` that can hold another one. */
function containers(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null || found.has(value)) return found;
  if (
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer ||
    value instanceof URL ||
    value instanceof Date ||
    value instanceof RegExp
  )
    return found;
  found.add(value);
  for (const part of parts(value)) containers(part, found);
  return found;
}

function link(from: object, to: object): void {
  if (Array.isArray(from)) from.push(to);
  else if (from instanceof Map) from.set(to, to);
  else if (from instanceof Set) from.add(to);
  else withProperties(from, [['link', to]]);
}

/** Values in which objects occur several times, inside of themselves too. */
const graph = fc
  .tuple(tree, fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 4 }))
  .map(([value, links]) => {
    const nodes = [...containers(value)];
    for (const [from, to] of nodes.length > 0 ? links : [])
      link(nodes[from % nodes.length]!, nodes[to % nodes.length]!);
    return value;
  });

describe('A value', () => {
  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an undefined field', { a: undefined }],
    ['an undefined item', [undefined, 1]],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['-0', [-0, 0]],
    ['a BigInt', -(10n ** 40n)],
    [
      'equal BigInts and NaNs beside Sets',
      [1n, new Set([Number.NaN, 1n, 2]), 1n, Number.NaN, { constructor: 1n, 0: 1n }],
    ],
    ['a Date', new Date('2026-02-03T04:05:06.007Z')],
    ['a Date far away', new Date(-8_640_000_000_000_000)],
    ['an invalid Date', new Date(Number.NaN)],
    [
      'a Map with objects as keys',
      new Map<unknown, unknown>([
        [{ id: 1n }, new Map([[new Date(0), undefined]])],
        [null, 1],
      ]),
    ],
    ['a Set of rich values', new Set([undefined, null, new Set([new Date(0)]), -1n])],
    ['a Buffer', Buffer.from([0, 255, 128])],
    [
      'a Float64Array with NaN and -0',
      new Float64Array([Number.NaN, -0, Number.POSITIVE_INFINITY]),
    ],
    ['a part of a typed array', new Uint16Array([1, 2, 3]).subarray(1)],
    ['a BigInt64Array', new BigInt64Array([-1n, 2n ** 62n])],
    ['an ArrayBuffer', new Uint8Array([1, 2]).buffer],
    ['a RegExp', /a\/b[\]/]\n/giu],
    ['a RegExp in use', Object.assign(/a/g, { lastIndex: 3 })],
    ['a URL', new URL('https://user:pw@example.com:8080/a%20b?q=ä#f')],
    ['an object without prototype', withProperties(Object.create(null) as object, [['a', 1]])],
    ['half surrogate pairs and NUL in texts and keys', { '\ud800\u0000': '\udfff\u0000\u2028' }],
    [
      'an envelope of superjson as data',
      { json: { a: 'x' }, meta: { values: { a: ['Date'] }, v: 1 }, rich: 1n },
    ],
    ['a tagged value as data', { type: 'Buffer', data: 'AA==', rich: 1n }],
  ])('B61: comes back the same: %s', (_, value) => {
    expect(difference(roundTrip(value), value)).toBeUndefined();
  });

  it.each(HOSTILE_KEYS)('comes back with the key %j as its own, and harms no prototype', (key) => {
    const value = withProperties({}, [[key, [withProperties({}, [[key, new Date(0)]])]]]);
    expect(difference(roundTrip(value), value)).toBeUndefined();
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('0');
  });

  it('B61: comes back with its cycles', () => {
    const node: Record<string, unknown> = { name: 'root' };
    node['self'] = node;
    node['map'] = new Map<unknown, unknown>([[node, new Set([node])]]);
    node['error'] = Object.assign(new Error('a', { cause: node }), { node });
    expect(difference(roundTrip(node), node)).toBeUndefined();
  });

  it('B61: comes back with one object where it had one, plain JSON data too', () => {
    const address = { street: 'Main St' };
    const { from, to } = roundTrip({ from: address, to: address });
    expect(from).toBe(to);
  });

  it('B61: comes back with an error as data: name, message, stack, code, cause and fields, as a plain Error', () => {
    const error = Object.assign(new RangeError('a', { cause: new Error('b') }), {
      code: 'E',
      at: new Date(0),
    });
    const decoded = roundTrip({ error }).error;
    expect(difference(decoded, error)).toBeUndefined();
    expect(Object.getPrototypeOf(decoded)).toBe(Error.prototype);
  });

  it('comes back the same from another realm, as one of this realm', () => {
    const foreign: unknown = runInNewContext(
      '({ list: [1n], map: new Map([[new Date(0), new Set([/a/])]]) })',
    );
    const own = { list: [1n], map: new Map([[new Date(0), new Set([/a/])]]) };
    expect(difference(roundTrip(foreign), own)).toBeUndefined();
  });

  it('comes back when objects with many shared parts would be endless if written out', () => {
    const value = Array.from({ length: 100 }).reduce<unknown>((inner) => [inner, inner], ['core']);
    expect(difference(roundTrip(value), value)).toBeUndefined();
  });

  it('comes back when it has 200,000 items', () => {
    const value = Array.from({ length: 200_000 }, (_, id) => ({ id }));
    expect(difference(roundTrip(value), value)).toBeUndefined();
  });

  it('comes back when it is 1,000 levels deep', () => {
    const value = (core: unknown): unknown =>
      Array.from({ length: 1_000 }).reduce<unknown>((inner) => [inner], core);
    expect(difference(roundTrip(value(1)), value(1))).toBeUndefined();
    expect(difference(roundTrip(value(undefined)), value(undefined))).toBeUndefined();
  });

  it('B61: comes back the same: any JSON data, as JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const encoded = serializers.encode(value);
        expect(difference(serializers.decode(encoded), value)).toBeUndefined();
      }),
      FUZZ,
    );
  });

  it('B61: comes back the same: any value that can be stored, in text that PostgreSQL takes', () => {
    fc.assert(
      fc.property(graph, (value) => {
        const encoded = serializers.encode(value);
        expect(encoded.text).not.toMatch(/\u0000|\p{Surrogate}/u); // eslint-disable-line no-control-regex
        expect(difference(serializers.decode(encoded), value)).toBeUndefined();
      }),
      FUZZ,
    );
  }, 300_000);
});
