// Stored text that was damaged or made up by someone: a typed error or a harmless value, soon, and nothing else.
import fc from 'fast-check';
import { UndecodableValueError } from './serialization-error.js';
import { SerializerSet } from './serializer.js';

const serializers = new SerializerSet();

/** `FUZZ_RUNS=20000 FUZZ_SEED=…` for more of it, or for the seed that a failure has printed. */
const FUZZ = {
  numRuns: Number(process.env['FUZZ_RUNS'] ?? 1_500),
  ...(process.env['FUZZ_SEED'] && { seed: Number(process.env['FUZZ_SEED']) }),
};

function read(text: string, format = 'superjson'): unknown {
  return serializers.decode({ text, format });
}

function thrownBy(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return error;
  }
}

const SECRET = 'canary-4711';

/** The text of an envelope whose `json` part is text already. */
function envelope(json: string, values: unknown): string {
  return `{"json":${json},"meta":${JSON.stringify({ values, v: 1 })}}`;
}

function tagged(type: unknown, data: unknown): string {
  return envelope(JSON.stringify({ type, data }), [['class', 'tagged']]);
}

/** `levels` Sets in each other: the arrays that hold their items, and the metadata that makes them Sets. */
function sets(levels: number): string {
  const json = '['.repeat(levels) + ']'.repeat(levels);
  const values = `${'["set",{"0":'.repeat(levels - 1)}["set"]${'}]'.repeat(levels - 1)}`;
  return `{"json":${json},"meta":{"values":${values},"v":1}}`;
}

describe('Stored text that cannot be read', () => {
  it.each<[string, string, RegExp]>([
    ['half of a text', `{"json":{"card":"${SECRET}`, /not what/],
    ['JSON data as superjson', `"${SECRET}"`, /no superjson text/],
    ['no key json', '{"meta":{"values":["Date"],"v":1}}', /no superjson text/],
    ['metadata of another version', '{"json":1,"meta":{"values":["Date"]}}', /metadata is not/],
    [
      'references of superjson, which could hand out functions',
      '{"json":{"a":1},"meta":{"values":{},"referentialEqualities":{"toString":["a"]},"v":1}}',
      /metadata is not/,
    ],
    ['damaged metadata', envelope('{"a":1}', { a: 'Date' }), /metadata is damaged/],
    ['an unknown type', envelope(`"${SECRET}"`, [SECRET]), /unknown type/],
    ['a type that we never write', envelope('{"name":"a"}', ['Error']), /unknown type/],
    ['an unknown class', envelope('{}', [['class', 'Order']]), /unknown type/],
    ['an unknown tag', tagged('Order', {}), /"Order", which is unknown/],
    ['a tag that is no text', tagged({}, {}), /not what/],
    ['a path to nothing', envelope('{"a":1}', { b: ['Date'] }), /points nowhere/],
    ['a path into a text', envelope('{"a":"b"}', { 'a.0': ['Date'] }), /points nowhere/],
    [
      'a path to a function',
      envelope('{"a":{}}', { 'a.toString': ['undefined'] }),
      /points nowhere/,
    ],
    [
      'a path to a prototype',
      envelope('{"__proto__":{"x":1}}', { '__proto__.x': ['Date'] }),
      /not what/,
    ],
    [
      'a prototype for a tagged value',
      envelope('{"type":"Date","__proto__":{"admin":true}}', [['class', 'tagged']]),
      /strange object/,
    ],
    [
      'an item far away',
      envelope('[[]]', { 0: ['set', { 4294967294: ['undefined'] }] }),
      /points nowhere/,
    ],
    ['the length of an array', envelope('[1]', { length: ['number'] }), /points nowhere/],
    ['a reference to nothing', tagged('reference', 7), /does not exist/],
    ['a reference by name', tagged('reference', 'push'), /does not exist/],
    ['a reference to itself', tagged('reference', 0), /does not exist/],
    ['letters for a BigInt', envelope(`"${SECRET}"`, ['bigint']), /not what/],
    ['a broken RegExp', tagged('RegExp', [`(${SECRET}`, '', 0]), /not what/],
    ['a broken URL', envelope(`"${SECRET}"`, ['URL']), /not what/],
    ['bytes that are no doubles', tagged('Float64Array', 'AA=='), /not what/],
    ['bytes that are no text', tagged('Buffer', [1]), /not what/],
    ['a Map without pairs', envelope('[1]', ['map']), /not what/],
    [
      '1,100 arrays in each other',
      `{"json":${'['.repeat(1_100)}${']'.repeat(1_100)}}`,
      /nested too deeply/,
    ],
    ['1,100 Sets in each other', sets(1_100), /metadata is nested too deeply/],
    ['100,000 Sets in each other', sets(100_000), /deeply|not what/],
  ])('B62: is refused with a typed error that does not quote it: %s', (_, text, reason) => {
    const error = thrownBy(() => read(text));
    expect(error).toBeInstanceOf(UndecodableValueError);
    expect(error).toMatchObject({ code: 'DBOS_UNDECODABLE_VALUE', format: 'superjson' });
    expect((error as UndecodableValueError).reason).toMatch(reason);
    expect((error as Error).message).not.toContain(SECRET);
    expect((error as Error).cause).toBeUndefined();
  });

  it('B62: is refused without a quotation when it should be JSON', () => {
    const error = thrownBy(() => read(`{"card":"${SECRET}`, 'json'));
    expect(error).toMatchObject({ code: 'DBOS_UNDECODABLE_VALUE', format: 'json' });
    expect((error as Error).message).not.toContain(SECRET);
  });

  it('B62: is refused with the reason as cause when another serializer refuses it', () => {
    const why = new Error('wrong key');
    const others = [
      {
        name: 'sealed',
        serialize: () => '',
        deserialize: () => {
          throw why;
        },
      },
    ];
    expect(() => new SerializerSet({ others }).decode({ text: 'x', format: 'sealed' })).toThrow(
      expect.objectContaining({ code: 'DBOS_UNDECODABLE_VALUE', cause: why }),
    );
  });
});

describe('Stored text that was made up', () => {
  it('gives own keys named __proto__, never another prototype', () => {
    for (const text of ['{"__proto__":{"admin":true}}', '{"json":{"__proto__":{"admin":true}}}']) {
      const value = read(text, text.includes('json') ? 'superjson' : 'json') as Record<
        string,
        unknown
      >;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(value['admin']).toBeUndefined();
    }
  });

  const key = fc.oneof(
    fc.constantFrom(
      'json',
      'meta',
      'values',
      'v',
      'type',
      'data',
      '0',
      '1',
      'a',
      'a.b',
      '0.0',
      '__proto__',
      'constructor',
      'prototype',
      'constructor.prototype.x',
      '__proto__.x',
      'toString',
      'length',
      '4294967294',
      '\\',
      'referentialEqualities',
    ),
    fc.string({ maxLength: 3 }),
  );
  const word = fc.constantFrom(
    'Date',
    'map',
    'set',
    'bigint',
    'number',
    'undefined',
    'URL',
    'class',
    'tagged',
    'custom',
    'symbol',
    'regexp',
    'Error',
    'typed-array',
    'object',
    'dictionary',
    'reference',
    'Buffer',
    'Float64Array',
    'RegExp',
    'custom:x',
    '__proto__',
  );
  const json = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 5, depthSize: 'medium' },
      fc.oneof(word, fc.constantFrom(0, 1, 7, -1, null, true, 1e9), fc.string({ maxLength: 4 })),
      fc.array(tie('node'), { maxLength: 4 }),
      fc.array(fc.tuple(key, tie('node')), { maxLength: 4 }).map((entries) => {
        const object = {};
        for (const [name, value] of entries)
          Object.defineProperty(object, name, {
            value,
            enumerable: true,
            configurable: true,
            writable: true,
          });
        return object;
      }),
    ),
  })).node;
  /** Nothing, JSON without sense, near misses of our envelope, and our own texts with a character changed. */
  const hostile = fc.oneof(
    fc.string(),
    json.map((value) => JSON.stringify(value)),
    fc
      .tuple(json, json)
      .map(([data, values]) => JSON.stringify({ json: data, meta: { values, v: 1 } })),
    fc
      .tuple(word, json)
      .map(([type, data]) =>
        JSON.stringify({ json: { type, data }, meta: { values: [['class', 'tagged']], v: 1 } }),
      ),
    fc
      .tuple(json, fc.nat(), fc.constantFrom('"', '0', '[', '}', '\\', ''))
      .map(([data, at, character]) => {
        const { text } = serializers.encode({
          data,
          at: [new Date(0), 1n, new Map([[{}, new Error('a')]])],
        });
        return text.slice(0, at % text.length) + character + text.slice((at % text.length) + 1);
      }),
  );

  function holdsFunction(value: unknown, seen = new Set<unknown>()): boolean {
    if (typeof value === 'function') return true;
    if (typeof value !== 'object' || value === null || seen.has(value)) return false;
    seen.add(value);
    const parts =
      value instanceof Map
        ? [...value].flat()
        : value instanceof Set
          ? [...value]
          : Object.values(value);
    return parts.some((part) => holdsFunction(part, seen));
  }

  it('B62: is read soon, as data or as a typed error, and pollutes nothing', () => {
    const before = [Object.prototype, Array.prototype, Map.prototype, Error.prototype].map(
      (prototype) => Reflect.ownKeys(prototype).length,
    );
    fc.assert(
      fc.property(hostile, fc.constantFrom('json', 'superjson'), (text, format) => {
        const started = performance.now();
        const value = thrownBy(() => read(text, format));
        const error = thrownBy(() => serializers.decodeError({ text, format }));
        expect(performance.now() - started).toBeLessThan(10_000);
        expect(error).toBeInstanceOf(Error);
        expect(holdsFunction(value)).toBe(false);
        expect(value).not.toBeInstanceOf(TypeError);
        expect(value).not.toBeInstanceOf(RangeError);
        expect(({} as Record<string, unknown>)['x']).toBeUndefined();
      }),
      FUZZ,
    );
    const after = [Object.prototype, Array.prototype, Map.prototype, Error.prototype].map(
      (prototype) => Reflect.ownKeys(prototype).length,
    );
    expect(after).toEqual(before);
  }, 300_000);
});
