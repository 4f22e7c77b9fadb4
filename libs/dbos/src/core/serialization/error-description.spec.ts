// Recording succeeds for anything that can be thrown, however hostile.
import { inspect } from 'node:util';
import fc from 'fast-check';
import { SerializerSet } from './serializer.js';

const serializers = new SerializerSet();

/** `FUZZ_RUNS=20000 FUZZ_SEED=…` for more of it, or for the seed that a failure has printed. */
const FUZZ = {
  numRuns: Number(process.env['FUZZ_RUNS'] ?? 1_500),
  ...(process.env['FUZZ_SEED'] && { seed: Number(process.env['FUZZ_SEED']) }),
};

function replayed(thrown: unknown): Error & Record<string, unknown> {
  return serializers.decodeError(serializers.encodeError(thrown)) as Error &
    Record<string, unknown>;
}

describe('Recording an error', () => {
  function hostile(): Error {
    const traps = new Proxy(new Error('trapped'), {
      get: () => {
        throw new Error('get');
      },
      ownKeys: () => {
        throw new Error('ownKeys');
      },
      getPrototypeOf: () => {
        throw new Error('getPrototypeOf');
      },
    });
    return traps;
  }

  function withGetters(...keys: string[]): Error {
    const error = new Error('a');
    for (const key of keys) {
      Object.defineProperty(error, key, {
        enumerable: true,
        get: () => {
          throw new Error(`getter ${key}`);
        },
      });
    }
    return error;
  }

  const revoked = Proxy.revocable(new Error('a'), {});
  revoked.revoke();

  it.each<[string, unknown]>([
    ['a frozen error', Object.freeze(new Error('a'))],
    ['an error whose name throws', withGetters('name')],
    ['an error whose message throws', withGetters('message')],
    ['an error whose stack throws', withGetters('stack')],
    ['an error whose cause throws', withGetters('cause')],
    [
      'an error all of whose properties throw',
      withGetters('stack', 'name', 'message', 'cause', 'code', 'a'),
    ],
    [
      'an error whose texts are none',
      Object.assign(new Error('a'), { name: 1, message: {}, stack: [] }),
    ],
    ['a Proxy that throws at everything', hostile()],
    ['a revoked Proxy', revoked.proxy],
    [
      'an object whose inspection throws',
      {
        [inspect.custom]: () => {
          throw new Error('inspect');
        },
      },
    ],
    [
      'an object whose toString throws',
      {
        toString: () => {
          throw new Error('toString');
        },
      },
    ],
    ['an object without prototype', Object.create(null)],
    ['an error without prototype', Object.setPrototypeOf(new Error('a'), null)],
  ])('succeeds for %s', (_, thrown) => {
    expect(replayed(thrown)).toBeInstanceOf(Error);
  });

  it('runs no getter of a field', () => {
    expect(replayed(withGetters('session'))['session']).toBe('[not stored: a getter]');
  });

  it('ends for errors that contain each other in endlessly many ways', () => {
    const errors = Array.from({ length: 30 }, () => new AggregateError([], 'a'));
    for (const error of errors) error.errors = errors;
    const started = performance.now();
    expect(replayed(errors[0])).toMatchObject({ name: 'AggregateError' });
    expect(performance.now() - started).toBeLessThan(20_000); // and not for ever
  });

  it('succeeds for anything at all', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      withObjectString: true,
      withBoxedValues: true,
    });
    const thrown = fc.oneof(
      anything,
      fc
        .tuple(fc.string(), anything, fc.dictionary(fc.string(), anything))
        .map(([message, cause, fields]) => {
          const error = new Error(message, { cause });
          for (const [key, value] of Object.entries(fields)) {
            Object.defineProperty(error, key, {
              value,
              enumerable: true,
              configurable: true,
              writable: true,
            });
          }
          return error;
        }),
    );
    fc.assert(
      fc.property(thrown, (value) => {
        const first = serializers.decodeError(serializers.encodeError(value));
        // What is recorded of the copy is what was recorded of the original: nothing is lost on the second way.
        const second = serializers.decodeError(serializers.encodeError(first));
        expect(second.name).toBe(first.name);
        expect(second.message).toBe(first.message);
        expect(second.stack).toBe(first.stack);
      }),
      FUZZ,
    );
  }, 300_000);
});
