// What is recorded of anything that user code throws.
import { type Serializer, SerializerSet } from './serializer.js';

const serializers = new SerializerSet();

function replayed(thrown: unknown, set = serializers): Error & Record<string, unknown> {
  return set.decodeError(set.encodeError(thrown)) as Error & Record<string, unknown>;
}

class CardDeclined extends Error {
  override readonly name = 'CardDeclined';
  readonly code = 'E_DECLINED';
  constructor(readonly attempts: number) {
    super('card declined');
  }
}

function caught(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return error;
  }
}

describe('A recorded error', () => {
  it('B61: keeps name, message, stack, code and its own fields', () => {
    const thrown = new CardDeclined(3);
    expect(replayed(thrown)).toMatchObject({
      name: 'CardDeclined',
      message: 'card declined',
      stack: thrown.stack,
      code: 'E_DECLINED',
      attempts: 3,
    });
  });

  it('is stored as JSON when its fields are JSON data', () => {
    const { format, text } = serializers.encodeError(new CardDeclined(3));
    expect(format).toBe('json');
    expect(JSON.parse(text)).toMatchObject({ name: 'CardDeclined', fields: { attempts: 3 } });
  });

  it('comes back as a plain Error whose name is not enumerable', () => {
    const error = replayed(new CardDeclined(3));
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
    expect(Object.keys(error).toSorted()).toEqual(['attempts', 'code']);
  });

  it('never gets a class by the name in the row', () => {
    expect(Object.getPrototypeOf(replayed(new TypeError('a')))).toBe(Error.prototype);
  });

  it('may get its class back from the caller, as may its causes', () => {
    const revive = (error: Error): Error =>
      error.name === 'CardDeclined'
        ? (Object.setPrototypeOf(error, CardDeclined.prototype) as Error)
        : error;
    const error = replayed(
      new Error('a', { cause: new CardDeclined(1) }),
      new SerializerSet({ revive }),
    );
    expect(error).not.toBeInstanceOf(CardDeclined);
    expect(error.cause).toBeInstanceOf(CardDeclined);
  });

  it('B61: keeps its chain of causes', () => {
    const error = replayed(
      new Error('a', { cause: new TypeError('b', { cause: { status: 502 } }) }),
    );
    expect(error.cause).toMatchObject({ name: 'TypeError', message: 'b', cause: { status: 502 } });
  });

  it('keeps that its cause was undefined', () => {
    expect('cause' in replayed(new Error('a', { cause: undefined }))).toBe(true);
    expect('cause' in replayed(new Error('a'))).toBe(false);
  });

  it('keeps 16 errors of an endless chain', () => {
    const first = Array.from({ length: 100 }).reduce<Error>(
      (cause, _, index) => new Error(String(index), { cause }),
      new Error('root'),
    );
    const messages: string[] = [];
    let error: unknown = replayed(first);
    for (; error instanceof Error; error = error.cause) messages.push(error.message);
    expect(messages).toHaveLength(16);
    expect(error).toMatch(/not stored: more than 16/);
  });

  it('says where a cause is an error again that it explains', () => {
    const error = new Error('a');
    error.cause = new Error('b', { cause: error });
    expect(replayed(error).cause).toMatchObject({
      message: 'b',
      cause: expect.stringMatching(/not stored.*again/),
    });
  });

  it('keeps the errors of an AggregateError', () => {
    const error = replayed(new AggregateError([new CardDeclined(1), 'text'], 'all failed'));
    expect(error['errors']).toMatchObject([{ name: 'CardDeclined', attempts: 1 }, 'text']);
    expect(Object.keys(error)).toEqual([]);
  });

  it('keeps an error that stands beside itself', () => {
    const twice = new Error('b');
    expect(replayed(new AggregateError([twice, twice]))['errors']).toMatchObject([
      { message: 'b' },
      { message: 'b' },
    ]);
  });

  it('keeps errors in its fields, without those of their fields that cannot be stored', () => {
    const attempt = Object.assign(new CardDeclined(1), { socket: new WeakMap() });
    const thrown = Object.assign(new Error('a'), { errors: [attempt, new Error('b')] });
    expect(JSON.parse(serializers.encodeError(thrown).text).json).not.toHaveProperty('errors');
    const error = replayed(thrown);
    expect(error['errors']).toMatchObject([
      { name: 'CardDeclined', attempts: 1, socket: expect.stringMatching(/not stored.*WeakMap/) },
      { message: 'b' },
    ]);
    expect((error['errors'] as unknown[])[0]).toBeInstanceOf(Error);
    expect(Object.keys(error)).toEqual(['errors']);
  });

  it('keeps rich fields', () => {
    const retryAfter = new Date(0);
    expect(replayed(Object.assign(new Error('a'), { retryAfter, id: 1n }))).toMatchObject({
      retryAfter,
      id: 1n,
    });
  });

  it('shows a text in place of a field that cannot be stored, and keeps what is around it', () => {
    const thrown = Object.assign(new Error('a'), {
      request: { url: '/pay', agent: new WeakMap(), headers: [{ a: 1 }, () => 1] },
    });
    expect(replayed(thrown)['request']).toEqual({
      url: '/pay',
      agent: expect.stringMatching(/^\[not stored: it is an instance of WeakMap/),
      headers: [{ a: 1 }, '[not stored: functions are code, not data]'],
    });
  });

  it('looks 8 levels deep into a field for what can be kept', () => {
    const detail = Array.from({ length: 100 }).reduce<unknown>(
      (inner) => ({ inner }),
      () => 1,
    );
    let level: unknown = replayed(Object.assign(new Error('a'), { detail }))['detail'];
    let levels = 0;
    for (; typeof level === 'object'; levels += 1) level = (level as { inner: unknown }).inner;
    expect(levels).toBe(8);
    expect(level).toMatch(/^\[not stored/);
  });

  it('looks at 10,000 parts for what can be kept', () => {
    const rows = Array.from({ length: 200 }, () => Array.from({ length: 100 }, () => () => 1));
    const kept = (replayed(Object.assign(new Error('a'), { rows }))['rows'] as string[][]).flat();
    expect(kept[0]).toMatch(/functions are code/);
    expect(kept.at(-1)).toBe('[not stored: too many parts]');
  });

  it('says how much of an endless list it left out', () => {
    const list: unknown[] = [() => 1];
    list.length = 4_000_000_000;
    expect((replayed(Object.assign(new Error('a'), { list }))['list'] as unknown[]).length).toBe(
      10_001,
    );
  });

  it('keeps NUL and lone surrogates in its message, escaped in the row', () => {
    const thrown = new Error('a\u0000b\ud800');
    expect(serializers.encodeError(thrown).text).not.toContain('\u0000');
    expect(replayed(thrown).message).toBe('a\u0000b\ud800');
  });

  it('keeps name and code of a DOMException', () => {
    const thrown = caught(() => AbortSignal.abort().throwIfAborted());
    expect(replayed(thrown)).toMatchObject({
      name: 'AbortError',
      code: 20,
      message: expect.stringContaining('aborted'),
    });
  });

  it('keeps the code of an error of Node.js, whatever realm it comes from', () => {
    const thrown = caught(() => new URL('::'));
    expect(replayed(thrown)).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_URL' });
  });

  it('has no stack when there was none, and not that of its decoding', () => {
    const thrown = new Error('a');
    delete thrown.stack;
    expect(replayed(thrown).stack).toBeUndefined();
  });

  it('harms no prototype by a field named __proto__', () => {
    const thrown = Object.defineProperty(new Error('a'), '__proto__', {
      value: { polluted: 1 },
      enumerable: true,
    });
    const error = replayed(thrown);
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
    expect(Object.getOwnPropertyDescriptor(error, '__proto__')?.value).toEqual({ polluted: 1 });
  });

  it('is shortened when it is larger than the limit', () => {
    const set = new SerializerSet({ maxBytes: 100_000 });
    const error = replayed(Object.assign(new Error('x'.repeat(200_000)), { code: 'E' }), set);
    expect(error.name).toBe('Error');
    expect(error.message).toMatch(/^x{16384}… \(200000 characters\)$/);
  });

  it('loses only the field that is larger than the limit', () => {
    const set = new SerializerSet({ maxBytes: 10_000 });
    const error = replayed(
      Object.assign(new Error('a'), { code: 'E', body: 'x'.repeat(20_000) }),
      set,
    );
    expect(error).toMatchObject({ message: 'a', code: 'E', body: '[not stored: it is too large]' });
  });

  it('is at least known to have been thrown when the serializer cannot even write a text', () => {
    const broken: Serializer = {
      name: 'broken',
      serialize: () => {
        throw new Error('no key');
      },
      deserialize: JSON.parse,
    };
    const set = new SerializerSet({ primary: broken });
    expect(set.encodeError(new Error('secret')).text).not.toContain('secret');
    expect(replayed(new Error('secret'), set)).toMatchObject({ name: 'UnrecordableError' });
  });

  it('B62: that is none any more is refused with a typed error', () => {
    expect(() => serializers.decodeError({ text: '{"message":1}', format: 'json' })).toThrow(
      expect.objectContaining({ code: 'DBOS_UNDECODABLE_VALUE' }),
    );
  });
});

describe('Something thrown that is no error', () => {
  it.each<[unknown, string]>([
    ['out of tea', 'out of tea'],
    [undefined, 'undefined was thrown, which is no Error'],
    [null, 'null was thrown, which is no Error'],
    [42, '42 was thrown, which is no Error'],
    [{ status: 502 }, '{ status: 502 } was thrown, which is no Error'],
  ])('such as %p, becomes a NonError that holds it', (thrown, message) => {
    const error = replayed(thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'NonError', message });
    expect(error['thrown']).toStrictEqual(thrown);
  });

  it.each<[string, unknown]>([
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
    ['an instance', new WeakMap()],
    ['a Proxy', new Proxy({}, {})],
  ])('such as %s, becomes a NonError that says what it was', (_, thrown) => {
    expect(replayed(thrown)).toMatchObject({
      name: 'NonError',
      thrown: expect.stringMatching(/^\[not stored/),
    });
  });
});
