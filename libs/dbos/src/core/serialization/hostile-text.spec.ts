// Stored text that was damaged or made up by someone: a typed error or a harmless value, soon, and nothing else.
import fc from 'fast-check';
import { UndecodableValueError } from './serialization-error.js';
import { SerializerSet } from './serializer.js';

const serializers = new SerializerSet();

/** `FUZZ_RUNS=20000 FUZZ_SEED=…` for more of it, or for the seed that a failure has printed. */
const FUZZ = {
  numRuns: Number(process.env['FUZZ_RUNS'] ?? 5_000),
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

describe('Stored text that cannot be read', () => {
  it.each<[string, string, string]>([
    ['half of a JSON text', 'json', `{"card":"${SECRET}`],
    ['half of a superjson text', 'superjson', `{"json":{"card":"${SECRET}`],
    ['JSON data as superjson', 'superjson', `"${SECRET}"`],
    ['no json key', 'superjson', '{"meta":{"values":["Date"],"v":1}}'],
    ['metadata of another version', 'superjson', '{"json":1,"meta":{"values":["Date"]}}'],
    [
      'references of superjson, which could hand out functions',
      'superjson',
      '{"json":{"a":1},"meta":{"values":{},"referentialEqualities":{"toString":["a"]},"v":1}}',
    ],
    ['an unknown type', 'superjson', `{"json":"${SECRET}","meta":{"values":["${SECRET}"],"v":1}}`],
    [
      'a type of superjson that we never write',
      'superjson',
      '{"json":{"name":"a"},"meta":{"values":["Error"],"v":1}}',
    ],
    ['an unknown class', 'superjson', '{"json":{},"meta":{"values":[["class","Order"]],"v":1}}'],
    [
      'an unknown tag',
      'superjson',
      '{"json":{"type":"Order","data":{}},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    [
      'a tag that is no text',
      'superjson',
      '{"json":{"type":{},"data":{}},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    [
      'a path that leads nowhere',
      'superjson',
      '{"json":{"a":1},"meta":{"values":{"b":["Date"]},"v":1}}',
    ],
    [
      'a path to the prototype',
      'superjson',
      '{"json":{"__proto__":{"x":1}},"meta":{"values":{"__proto__.x":["Date"]},"v":1}}',
    ],
    [
      'a path to an inherited function',
      'superjson',
      '{"json":{"a":{}},"meta":{"values":{"a.toString":["undefined"]},"v":1}}',
    ],
    [
      'a prototype for a tagged value',
      'superjson',
      '{"json":{"type":"Date","__proto__":{"admin":true}},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    [
      'an item four billion items away',
      'superjson',
      '{"json":[[]],"meta":{"values":{"0":["set",{"4294967294":["undefined"]}]},"v":1}}',
    ],
    [
      'the length of an array',
      'superjson',
      '{"json":[1],"meta":{"values":{"length":["number"]},"v":1}}',
    ],
    [
      'a reference to what does not exist',
      'superjson',
      '{"json":{"type":"reference","data":7},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    [
      'a reference by name',
      'superjson',
      '{"json":{"type":"reference","data":"push"},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    [
      'letters for a BigInt',
      'superjson',
      `{"json":"${SECRET}","meta":{"values":["bigint"],"v":1}}`,
    ],
    [
      'a broken RegExp',
      'superjson',
      `{"json":{"type":"RegExp","data":["(${SECRET}","",0]},"meta":{"values":[["class","tagged"]],"v":1}}`,
    ],
    ['a broken URL', 'superjson', `{"json":"${SECRET}","meta":{"values":["URL"],"v":1}}`],
    [
      'bytes that are no doubles',
      'superjson',
      '{"json":{"type":"Float64Array","data":"AA=="},"meta":{"values":[["class","tagged"]],"v":1}}',
    ],
    ['a Map without pairs', 'superjson', '{"json":[1],"meta":{"values":["map"],"v":1}}'],
    [
      'a tower of 10,000 arrays',
      'superjson',
      `{"json":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
    ],
    [
      'metadata as high',
      'superjson',
      `{"json":[],"meta":{"values":${'{"0":["set",'.repeat(9_000)}{}${']}'.repeat(9_000)},"v":1}}`,
    ],
  ])('B62: is refused with a typed error that does not quote it: %s', (_, format, text) => {
    const error = thrownBy(() => read(text, format));
    expect(error).toBeInstanceOf(UndecodableValueError);
    expect(error).toMatchObject({ code: 'DBOS_UNDECODABLE_VALUE', format });
    expect((error as Error).message).not.toContain(SECRET);
    expect((error as Error).cause).toBeUndefined();
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
        expect(performance.now() - started).toBeLessThan(1_000);
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
  }, 120_000);
});
