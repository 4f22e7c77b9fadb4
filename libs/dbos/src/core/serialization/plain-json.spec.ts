// Which values take the fast path: only those that JSON keeps exactly.
import { isPlainJson } from './plain-json.js';

/** `value` inside of `levels` arrays. */
function nested(levels: number): unknown {
  return Array.from({ length: levels }).reduce<unknown>((inner) => [inner], 'core');
}

describe('Plain JSON data', () => {
  it.each<[string, unknown]>([
    ['null', null],
    ['a boolean', false],
    ['a finite number', -1.5],
    ['a text with NUL and half a surrogate pair', 'a\u0000b\ud800'],
    ['an empty object', {}],
    ['objects and arrays in each other', { lines: [{ tags: ['a', []] }] }],
    ['an object with a key "constructor"', { constructor: 1 }],
    ['an object with a toJSON that is no function', { toJSON: 'no' }],
    ['an object that other code may not change', Object.freeze({ a: 1 })],
  ])('is %s', (_, value) => {
    expect(isPlainJson(value)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-0', -0],
    ['a BigInt', 1n],
    ['a symbol', Symbol('a')],
    ['a function', () => 1],
    ['a field that is undefined', { a: undefined }],
    ['an item that is undefined', [undefined]],
    ['a hole', Array(1)],
    ['an array with another property', Object.assign([1], { index: 0 })],
    ['an array of a class', new (class extends Array {})()],
    ['an object without prototype', Object.create(null)],
    ['an instance', new (class Order extends Object {})()],
    ['an object with toJSON()', { toJSON: () => 1 }],
    ['a Date', new Date()],
    ['a Map', new Map()],
    ['a key __proto__', JSON.parse('{"__proto__":1}')],
    ['a symbol as key', { [Symbol('a')]: 1 }],
    ['a symbol as key of an array', Object.assign([1], { [Symbol('a')]: 1 })],
    ['a property that JSON would skip', Object.defineProperty({}, 'a', { value: 1 })],
    ['a Proxy', new Proxy({}, {})],
  ])('is not %s', (_, value) => {
    expect(isPlainJson(value)).toBe(false);
  });

  it('is not an object that occurs twice, because two copies are not one object', () => {
    const address = { street: 'Main St' };
    expect(isPlainJson({ from: address, to: address })).toBe(false);
  });

  it('is not an object that contains itself', () => {
    const tree: { self?: unknown } = {};
    tree.self = tree;
    expect(isPlainJson(tree)).toBe(false);
  });

  it('is at most 1,000 levels deep', () => {
    expect(isPlainJson(nested(1_000))).toBe(true);
    expect(isPlainJson(nested(1_001))).toBe(false);
  });

  it('is looked at without running a getter', () => {
    let runs = 0;
    const order = {
      get total() {
        runs += 1;
        return 1;
      },
    };
    expect(isPlainJson(order)).toBe(false);
    expect(runs).toBe(0);
  });
});
