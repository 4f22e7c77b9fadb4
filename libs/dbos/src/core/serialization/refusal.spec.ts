// What is refused before anything is stored, and where the message says it is.
import { UnserializableValueError } from './serialization-error.js';
import { SerializerSet } from './serializer.js';

class Product {
  constructor(readonly name = 'tea') {}
}

class Decimal {
  toJSON(): string {
    return '1.5';
  }
}

function refusal(value: unknown, root?: string): UnserializableValueError {
  try {
    new SerializerSet().encode(value, root);
  } catch (error) {
    if (error instanceof UnserializableValueError) return error;
    throw error;
  }
  throw new Error('the value was accepted');
}

function nested(levels: number, wrap: (inner: unknown) => unknown, core: unknown): unknown {
  return Array.from({ length: levels }).reduce(wrap, core);
}

describe('A value that cannot be kept', () => {
  it.each<[string, unknown, RegExp]>([
    ['a function', () => 1, /functions are code/],
    ['a class', Product, /functions are code/],
    ['a symbol', Symbol('a'), /symbol/],
    ['an instance', new Product(), /instance of Product.*createSuperjsonSerializer/],
    [
      'an instance with toJSON()',
      new Decimal(),
      /instance of Decimal.*toJSON.*createSuperjsonSerializer/,
    ],
    ['a Map of a class', new (class Prices extends Map {})(), /instance of Prices/],
    ['an array of a class', new (class Lines extends Array {})(), /instance of Lines/],
    ['an object behind another', Object.create({ a: 1 }), /instance of Object/],
    ['what claims to be an ordinary object', Object.create({ constructor: Object }), /instance of/],
    [
      'a Buffer of a class',
      Object.setPrototypeOf(Buffer.from('a'), Object.create(Buffer.prototype) as object),
      /instance of/,
    ],
    ['what only claims to be a Map', Object.create(Map.prototype), /instance of Map/],
    ['a WeakMap', new WeakMap(), /instance of WeakMap/],
    ['a WeakSet', new WeakSet(), /instance of WeakSet/],
    ['a Promise', Promise.resolve(1), /await it/],
    ['a Proxy', new Proxy({ a: 1 }, {}), /Proxy/],
    ['a Proxy of a Map', new Proxy(new Map(), {}), /Proxy/],
    ['a boxed primitive', Object(1), /Number object/],
    ['a DataView', new DataView(new ArrayBuffer(1)), /instance of DataView/],
    ['a generator', (function* () {})(), /instance of/],
    ['a hole', [1, , 3], /hole/], // eslint-disable-line no-sparse-arrays
    ['a getter', Object.defineProperty({}, 'a', { get: () => 1, enumerable: true }), /getter/],
    ['a getter in an array', Object.defineProperty([1n, 1], 1, { get: () => 1 }), /getter/],
    [
      'a property that is not enumerable',
      Object.defineProperty({}, 'a', { value: 1 }),
      /enumerable/,
    ],
    ['a symbol as key', { [Symbol('tenant')]: 1 }, /Symbol\(tenant\)/],
    [
      'a symbol as key of an array',
      Object.assign([1n], { [Symbol('tenant')]: 1 }),
      /Symbol\(tenant\)/,
    ],
    ['an array with another property', 'abc'.match(/b/), /property "index"/],
    ['a Date with a property', Object.assign(new Date(), { zone: 'CET' }), /property zone/],
  ])('may be %s', (_, value, reason) => {
    expect(refusal(value).message).toMatch(reason);
  });

  it('B61: is refused with a typed error that has the path inside the value', () => {
    const error = refusal({ lines: [{}, {}, {}, { product: new Product() }] }, 'order');
    expect(error).toMatchObject({
      code: 'DBOS_UNSERIALIZABLE_VALUE',
      path: 'order.lines[3].product',
    });
    expect(error.message).toMatch(
      /^order\.lines\[3\]\.product cannot be stored: it is an instance of Product/,
    );
  });

  it.each<[string, unknown]>([
    ['value', new Product()],
    ['value["a.b"]', { 'a.b': new Product() }],
    ['value[""]', { '': new Product() }],
    ['value.prices.get("EUR")', { prices: new Map([['EUR', new Product()]]) }],
    [
      'value.values()[1]',
      new Map([
        [{}, 1],
        [{}, new Product()],
      ] as [unknown, unknown][]),
    ],
    ['value.keys()[0].id', new Map([[{ id: new Product() }, 1]])],
    ['value.values()[1]', new Set([1, new Product()])],
    [
      'value.cause.socket',
      new Error('a', { cause: Object.assign(new Error('b'), { socket: new Product() }) }),
    ],
    [
      'value.errors[0].product',
      new AggregateError([Object.assign(new Error('a'), { product: new Product() })]),
    ],
    ['value.constructor[0]', { constructor: [new Product()] }],
    ['value[1]', [1n, , 3]], // eslint-disable-line no-sparse-arrays
    ['value.a', Object.defineProperty({}, 'a', { get: () => 1, enumerable: true })],
  ])('is at %s', (path, value) => {
    expect(refusal(value).path).toBe(path);
  });

  it('is refused without running its getters or its toJSON()', () => {
    const order = {
      get total(): never {
        throw new Error('the getter ran');
      },
    };
    expect(refusal(order).message).toMatch(/getter/);
  });

  it.each<[string, (inner: unknown) => unknown]>([
    ['objects', (inner) => ({ a: inner })],
    ['arrays', (inner) => [inner]],
    ['Maps', (inner) => new Map([['a', inner]])],
    ['Sets', (inner) => new Set([inner])],
    ['objects with reserved keys', (inner) => ({ constructor: inner })],
    ['causes', (inner) => new Error('a', { cause: inner })],
  ])('may be 1,001 or 10,000 %s in each other: refused, no stack overflow', (_, wrap) => {
    expect(refusal(nested(1_001, wrap, 1n)).message).toMatch(/nested deeper than 1000 levels/);
    expect(refusal(nested(10_000, wrap, 1)).message).toMatch(/nested deeper than 1000 levels/);
  });

  it('is named at both ends of a path too long to read', () => {
    const { path } = refusal(nested(100, (inner) => ({ a: inner }), new Product()));
    expect(path).toBe(`value${'.a'.repeat(10)} … ${'.a'.repeat(10)}`);
  });
});
