// What nobody should pass, and somebody will: values for fuzzing every public entry, one hostile among good ones.
import fc from 'fast-check';

/** Thrown by values that do so when they are looked at: the caller's own error, and no fault of ours. */
export class HostileError extends Error {
  override readonly name = 'HostileError';
}

const refuse = (): never => {
  throw new HostileError('Do not look at me.');
};

/** Throws at whatever is done with it. */
export const ANGRY_PROXY: unknown = new Proxy(
  {},
  { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse },
);

function nested(depth: number): unknown {
  let value: unknown = 'end';
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { value };
  return value;
}

function circular(): unknown {
  const value: Record<string, unknown> = { name: 'itself' };
  value['self'] = value;
  return value;
}

class Instance {
  readonly field = 1;
}

const TEXTS = [
  '', ' ', 'x', 'x'.repeat(256), 'x'.repeat(257), 'x'.repeat(5_000), 'é'.repeat(256), '🦊'.repeat(128), '\u0000', 'a\u0000b', '\ud800',
  'a\udc00', '\u2028', '\u0001token 0', '\r\n', '__proto__', 'constructor', 'toString', "'; DROP TABLE dbos.workflows; --", '" OR 1=1', '%',
  '_', '\\', '$1', '{}', '[]', 'null', 'NaN', '0', '-1', '1.5', '1e400', '30s', '-3d', '1e9w', '99999999999w', '* * * * *', '61 * * * *',
  '0 0 30 2 *', '@reboot', 'Europe/Berlin', 'Mars/Olympus', '../../etc/passwd', '${process.exit()}', '0.0', '3.0.2', 'failure',
]; // prettier-ignore

const NUMBERS = [
  0, -0, 1, -1, 0.5, -0.5, 1e-300, 7, 1_000, 10_001, 2 ** 31 - 1, 2 ** 31, 2 ** 53, -(2 ** 53), 8.64e15, 8.64e15 + 1, 1e21, 1.7e308, NaN,
  Infinity, -Infinity,
]; // prettier-ignore

const OTHERS: ReadonlyArray<() => unknown> = [
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => 7n,
  () => Symbol('hostile'),
  () => () => 'called',
  () => async () => 'called',
  () => Instance,
  () => new Instance(),
  () => [],
  () => [null],
  () => ['a', 'a'],
  () => [undefined, 7],
  () => Object.assign([], { length: 3 }), // nothing but holes
  () => ({}),
  () => Object.create(null) as unknown,
  () => JSON.parse('{"__proto__":{"polluted":true}}') as unknown,
  () => ({ constructor: { prototype: { polluted: true } } }),
  () => ({ toString: refuse, valueOf: refuse, toJSON: refuse }),
  () => ({
    get field() {
      return refuse();
    },
  }),
  () => new Date(Number.NaN),
  () => new Date(8.64e15),
  () => new Date(0),
  () => new Map([['a', new Set([1])]]),
  () => new Error('hostile', { cause: circular() }),
  () => Buffer.from('bytes'),
  () => new WeakMap(),
  () => Promise.resolve(1),
  () => circular(),
  () => nested(100),
  () => nested(1_500),
  () => nested(20_000),
  () => ANGRY_PROXY,
  () => new Proxy([], { get: refuse }),
];

/** Made anew for every run, so that one call cannot spoil it for another. */
export const hostile: fc.Arbitrary<() => unknown> = fc.oneof(
  fc.constantFrom(...TEXTS).map((value) => () => value),
  fc.constantFrom(...NUMBERS).map((value) => () => value),
  fc.constantFrom(...OTHERS),
  fc.string({ unit: 'binary', maxLength: 20 }).map((value) => () => value),
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withSparseArray: true }).map((value) => () => value),
); // prettier-ignore

export const hostileText: fc.Arbitrary<string> = fc.constantFrom(...TEXTS);
