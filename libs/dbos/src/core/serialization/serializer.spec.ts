// The set of serializers: who writes, who reads, what is too large, what is refused of a serializer.
import { InvalidArgumentError } from '../errors.js';
import {
  UnknownFormatError,
  UnserializableValueError,
  ValueTooLargeError,
} from './serialization-error.js';
import { type Serializer, SerializerSet } from './serializer.js';

/** Stands for a serializer that encrypts: nothing of the value is legible in its text. */
const reversing: Serializer = {
  name: 'reversing',
  serialize: (value) => JSON.stringify(value).split('').reverse().join(''),
  deserialize: (text) => JSON.parse(text.split('').reverse().join('')) as unknown,
};

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('A serializer set', () => {
  it('writes JSON data as JSON', () => {
    expect(new SerializerSet().encode({ id: 1, tags: ['a'] })).toEqual({
      format: 'json',
      text: '{"id":1,"tags":["a"]}',
    });
  });

  it('writes what JSON would change as superjson, legible under its key json', () => {
    const { format, text } = new SerializerSet().encode({ id: 1, at: new Date(0) });
    expect(format).toBe('superjson');
    expect(JSON.parse(text)).toMatchObject({ json: { id: 1, at: '1970-01-01T00:00:00.000Z' } });
  });

  it('writes everything with the primary serializer, JSON data included, so that encryption sees it all', () => {
    const set = new SerializerSet({ primary: reversing });
    expect(set.encode({ id: 1 })).toEqual({ format: 'reversing', text: '}1:"di"{' });
    expect(set.encodeError(new Error('secret')).text).not.toContain('secret');
  });

  it('reads what an earlier serializer has written', () => {
    const stored = new SerializerSet({ primary: reversing }).encode({ id: 1 });
    expect(new SerializerSet({ others: [reversing] }).decode(stored)).toEqual({ id: 1 });
  });

  it('reads its own two formats whatever the primary serializer is', () => {
    const set = new SerializerSet({ primary: reversing });
    expect(set.decode(new SerializerSet().encode([1]))).toEqual([1]);
    expect(set.decode(new SerializerSet().encode([1n]))).toEqual([1n]);
  });

  it('B62: refuses a format that it does not know, with its name and the cure', () => {
    const error = thrownBy(() => new SerializerSet().decode({ text: '1', format: 'devalue' }));
    expect(error).toBeInstanceOf(UnknownFormatError);
    expect(error).toMatchObject({ code: 'DBOS_UNKNOWN_FORMAT', format: 'devalue' });
    expect((error as Error).message).toContain('Configure the serializer named "devalue"');
  });

  it('refuses two serializers of one name', () => {
    expect(() => new SerializerSet({ primary: reversing, others: [reversing] })).toThrow(
      InvalidArgumentError,
    );
    expect(() => new SerializerSet({ primary: { ...reversing, name: 'json' } })).toThrow(/"json"/);
  });

  it('refuses a serializer without a name', () => {
    expect(() => new SerializerSet({ primary: { ...reversing, name: '' } })).toThrow(
      InvalidArgumentError,
    );
  });

  it.each<[string, unknown]>([
    ['a promise', Promise.resolve('1')],
    ['a NUL character', 'a\u0000'],
    ['half of a surrogate pair', 'a\ud800'],
  ])('refuses %s from a serializer, before the database does', (_, text) => {
    const set = new SerializerSet({ primary: { ...reversing, serialize: () => text as string } });
    expect(() => set.encode(1)).toThrow(UnserializableValueError);
  });

  it('says that a serializer refused a value, and why', () => {
    const why = new Error('no key');
    const refusing: Serializer = {
      ...reversing,
      serialize: () => {
        throw why;
      },
    };
    expect(
      thrownBy(() => new SerializerSet({ primary: refusing }).encode(1, 'order')),
    ).toMatchObject({
      code: 'DBOS_UNSERIALIZABLE_VALUE',
      message: 'order cannot be stored: the serializer "reversing" refused it.',
      cause: why,
    });
  });

  it('refuses a value whose text is larger than the limit, with both sizes', () => {
    const error = thrownBy(() => new SerializerSet({ maxBytes: 10 }).encode('ääääää', 'order'));
    expect(error).toBeInstanceOf(ValueTooLargeError);
    expect(error).toMatchObject({
      code: 'DBOS_VALUE_TOO_LARGE',
      path: 'order',
      sizeBytes: 14,
      maxBytes: 10,
    });
    expect((error as Error).message).toContain('14 bytes, the limit is 10 bytes');
  });

  it('accepts a value of just the limit', () => {
    expect(new SerializerSet({ maxBytes: 10 }).encode('12345678').text).toHaveLength(10);
  });

  it('limits a value to 16 MiB unless told otherwise', () => {
    const tenMebibytes = 'x'.repeat(10 * 1024 * 1024);
    expect(new SerializerSet().encode(tenMebibytes).text).toHaveLength(tenMebibytes.length + 2);
    expect(() => new SerializerSet().encode([tenMebibytes, tenMebibytes])).toThrow(
      ValueTooLargeError,
    );
  });

  it.each([0, -1, Number.NaN])('refuses %d as limit', (maxBytes) => {
    expect(() => new SerializerSet({ maxBytes })).toThrow(InvalidArgumentError);
  });
});
