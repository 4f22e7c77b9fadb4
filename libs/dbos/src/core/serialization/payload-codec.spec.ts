// Codecs after the serialization: what is stored, what stays readable, and what is said when it does not.
import { aesGcmCodec } from './aes-gcm-codec.js';
import { gzipCodec } from './gzip-codec.js';
import type { PayloadCodec } from './payload-codec.js';
import { UndecodableValueError } from './serialization-error.js';
import { SerializerSet } from './serializer.js';

const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const SECRET = { card: '4111 1111 1111 1111' };
const LONG = 'sencha '.repeat(1_000);

function set(...codecs: PayloadCodec[]): SerializerSet {
  return new SerializerSet({ codecs });
}

const first = aesGcmCodec({ keys: { k1: key(1) }, current: 'k1' });
const rotated = aesGcmCodec({ keys: { k1: key(1), k2: key(2) }, current: 'k2' });

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('Codecs', () => {
  it('give back what they were given, in the order in which they are named in the format', () => {
    const stored = set(gzipCodec({ minBytes: 10 }), first).encode({ LONG, ...SECRET });
    expect(stored.format).toBe('json+gzip+aes-gcm:k1');
    expect(set(gzipCodec(), first).decode(stored)).toEqual({ LONG, ...SECRET });
  });

  it('leave what was stored before them readable', () => {
    const before = new SerializerSet().encode(SECRET);
    expect(set(gzipCodec(), first).decode(before)).toEqual(SECRET);
  });

  it('see errors too', () => {
    const stored = set(first).encodeError(new Error(SECRET.card));
    expect(stored.text).not.toContain('4111');
    expect(set(first).decodeError(stored).message).toBe(SECRET.card);
  });

  it('that are unknown here are named, with the cure', () => {
    const stored = set(first).encode(1);
    expect(thrownBy(() => set(gzipCodec()).decode(stored))).toMatchObject({
      code: 'DBOS_UNKNOWN_CODEC',
      codec: 'aes-gcm',
      message: expect.stringContaining('Add it to `codecs`') as string,
    });
  });

  it('that fail leave nothing in the clear', () => {
    const broken: PayloadCodec = {
      name: 'broken',
      encode: () => {
        throw new Error('no key today');
      },
      decode: ({ text }) => text,
    };
    expect(thrownBy(() => set(broken).encode(SECRET))).toMatchObject({
      code: 'DBOS_UNSERIALIZABLE_VALUE',
    });
    expect(set(broken).encodeError(new Error(SECRET.card)).text).not.toContain('4111');
  });

  it('may give no text that PostgreSQL cannot hold', () => {
    const nul: PayloadCodec = { name: 'nul', encode: () => ({ text: '\0' }), decode: () => '' };
    expect(thrownBy(() => set(nul).encode(1))).toMatchObject({ code: 'DBOS_UNSERIALIZABLE_VALUE' });
  });

  it('have names of their own, without the signs of a format', () => {
    const named = (name: string): PayloadCodec => ({ ...first, name });
    expect(() => set(first, rotated)).toThrow('two codecs named "aes-gcm"');
    expect(() => set(named('a+b'))).toThrow('a codec needs a name');
    expect(() => new SerializerSet({ primary: { name: 'a+b' } as never })).toThrow('without "+"');
  });

  it.each<[string, Partial<PayloadCodec>]>([
    ['no text', { encode: () => ({ text: 7 as never }) }],
    ['a promise', { encode: () => Promise.resolve({ text: '' }) as never }],
    ['half a character', { encode: () => ({ text: 'half \ud800' }) }],
    ['a variant that is no name', { encode: () => ({ text: '', variant: 'a+b' }) }],
  ])('may give no %s, for nothing of it could be read again', (_what, codec) => {
    const made: PayloadCodec = { name: 'odd', encode: () => undefined, decode: () => '', ...codec };
    expect(thrownBy(() => set(made).encode(SECRET))).toMatchObject({
      code: 'DBOS_UNSERIALIZABLE_VALUE',
      message: expect.stringContaining('the codec "odd" gave') as string,
    });
  });

  it('may leave a text as it is, which is then stored without their name', () => {
    const idle: PayloadCodec = { name: 'idle', encode: () => undefined, decode: () => 'never' };
    const stored = set(idle, first).encode(SECRET);
    expect(stored.format).toBe('json+aes-gcm:k1');
    expect(set(idle, first).decode(stored)).toEqual(SECRET);
  });

  it('that read no text, or throw, make a value undecodable', () => {
    const odd = (decode: PayloadCodec['decode']): PayloadCodec => ({
      name: 'odd',
      encode: ({ length }) => ({ text: String(length) }),
      decode,
    });
    const stored = set(odd(() => '')).encode(SECRET);
    const read = (decode: PayloadCodec['decode']): unknown =>
      thrownBy(() => set(odd(decode)).decode(stored));
    const damaged = { code: 'DBOS_UNDECODABLE_VALUE', cause: expect.any(Error) as Error };
    expect(read(() => 7 as never)).toMatchObject({
      ...damaged,
      cause: expect.objectContaining({ message: 'it gave number, no text' }) as Error,
    });
    expect(
      read(() => {
        throw new RangeError('too far');
      }),
    ).toMatchObject(damaged);
  });

  it('that say themselves what is wrong with a text are quoted as they are', () => {
    const wrong = new UndecodableValueError('json+odd', 'it is of another tenant');
    const odd: PayloadCodec = {
      name: 'odd',
      encode: (text) => ({ text }),
      decode: () => {
        throw wrong;
      },
    };
    expect(thrownBy(() => set(odd).decode(set(odd).encode(1)))).toBe(wrong);
  });

  it('are sixteen at most, around what is written and around what is read', () => {
    const layer = (name: string): PayloadCodec => ({
      name,
      encode: (text) => ({ text }),
      decode: ({ text }) => text,
    });
    const layers = Array.from({ length: 16 }, (_, index) => layer(`layer${index}`));
    const stored = set(...layers).encode(1);
    expect(set(...layers).decode(stored)).toBe(1);
    expect(() => set(...layers, layer('one.more'))).toThrow('at most 16, not 17');
    const format = `json${'+layer0'.repeat(17)}`;
    expect(thrownBy(() => set(...layers).decode({ text: '1', format }))).toMatchObject({
      code: 'DBOS_UNKNOWN_FORMAT',
    });
  });

  it('have a name that is a text, of at most 64 characters', () => {
    const named = (name: unknown): PayloadCodec => ({ ...first, name: name as string });
    for (const name of ['', 'x'.repeat(65), 'a:b', undefined, null])
      expect(() => set(named(name))).toThrow('a codec needs a name');
    expect(() => set(undefined as never)).toThrow('a codec needs a name');
    expect(() => set(named('x'.repeat(64)))).not.toThrow();
  });

  it('are counted in the size of a value', () => {
    const limited = (codec: PayloadCodec): SerializerSet =>
      new SerializerSet({ codecs: [codec], maxBytes: 1_000 });
    expect(limited(gzipCodec()).encode(LONG).text.length).toBeLessThan(1_000);
    expect(thrownBy(() => limited(first).encode('a'.repeat(900)))).toMatchObject({
      code: 'DBOS_VALUE_TOO_LARGE',
    });
  });
});

describe('aesGcmCodec', () => {
  it('makes another text each time, and knows that both are one value', () => {
    const [one, other] = [set(first).encode(SECRET), set(first).encode(SECRET)];
    expect(one.text).not.toBe(other.text);
    expect(set(first).isSame(one, other)).toBe(true);
    expect(set(rotated).isSame(one, set(rotated).encode(SECRET))).toBe(false); // another key
    expect(set(first).isSame(one, set(first).encode(1))).toBe(false);
  });

  it('reads with every key and writes with the current one', () => {
    const old = set(first).encode(SECRET);
    expect(set(rotated).decode(old)).toEqual(SECRET);
    expect(set(rotated).encode(SECRET).format).toBe('json+aes-gcm:k2');
  });

  it('reads what each of many changes of the key has left, as long as it has that key', () => {
    const ids = ['k1', 'k2', 'k3'];
    const keys = Object.fromEntries(ids.map((id, index) => [id, key(index)]));
    const codecOf = (current: string, known = keys): PayloadCodec =>
      aesGcmCodec({ keys: known, current });
    const stored = ids.map((id) => set(codecOf(id)).encode(SECRET));
    const latest = set(gzipCodec(), codecOf('k3'));
    expect(stored.map((value) => latest.decode(value))).toEqual([SECRET, SECRET, SECRET]);
    const { k1: _, ...younger } = keys;
    expect(thrownBy(() => set(codecOf('k3', younger)).decode(stored[0]!))).toMatchObject({
      code: 'DBOS_UNKNOWN_CODEC_KEY',
      keyId: 'k1',
      message: expect.stringContaining('k2') as string, // those that there are
    });
  });

  it('reads no text under the id of another key, were it the same key', () => {
    const twice = set(aesGcmCodec({ keys: { k1: key(1), k2: key(1) }, current: 'k1' }));
    const stored = twice.encode(SECRET);
    const renamed = { ...stored, format: stored.format.replace('k1', 'k2') };
    expect(thrownBy(() => twice.decode(renamed))).toMatchObject({ code: 'DBOS_UNDECODABLE_VALUE' });
  });

  it('takes a key in Base64, and ids of keys that a format can hold', () => {
    const secret = Buffer.from(key(1)).toString('base64');
    const inBase64 = set(aesGcmCodec({ keys: { k1: secret }, current: 'k1' }));
    expect(inBase64.decode(set(first).encode(SECRET))).toEqual(SECRET);
    for (const id of ['', 'a+b', 'x'.repeat(65)])
      expect(() => aesGcmCodec({ keys: { [id]: secret }, current: id })).toThrow('the id of a key');
  });

  it('says which key is missing', () => {
    const stored = set(rotated).encode(SECRET);
    expect(thrownBy(() => set(first).decode(stored))).toMatchObject({
      code: 'DBOS_UNKNOWN_CODEC_KEY',
      keyId: 'k2',
    });
  });

  it('refuses a text that was changed, cut, or put under another format', () => {
    const stored = set(first).encode(SECRET);
    const bytes = Buffer.from(stored.text, 'base64');
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    const refused = { code: 'DBOS_UNDECODABLE_VALUE' };
    const decode = (changed: object): unknown =>
      thrownBy(() => set(first).decode({ ...stored, ...changed }));
    expect(decode({ text: bytes.toString('base64') })).toMatchObject(refused);
    expect(decode({ text: 'AAAA' })).toMatchObject({
      ...refused,
      cause: expect.objectContaining({ message: 'It is too short.' }) as Error,
    });
    expect(decode({ format: 'superjson+aes-gcm:k1' })).toMatchObject(refused);
    const sealed = first.encode('text', 'json')!;
    expect(first.decode(sealed, 'json')).toBe('text');
    expect(() => first.decode(sealed, 'superjson')).toThrow('authenticate');
  });

  it('takes keys of 32 bytes only, and quotes none', () => {
    const short = 'c2VjcmV0';
    const error = thrownBy(() => aesGcmCodec({ keys: { k1: short }, current: 'k1' }));
    expect(error).toMatchObject({ code: 'DBOS_INVALID_ARGUMENT' });
    expect((error as Error).message).not.toContain(short);
    expect(() => aesGcmCodec({ keys: { k1: key(1) }, current: 'k2' })).toThrow('no such key');
  });
});

describe('gzipCodec', () => {
  it('leaves short texts, and those that it would make longer, as they are', () => {
    expect(set(gzipCodec()).encode('short').format).toBe('json');
    expect(set(gzipCodec({ minBytes: 0 })).encode('short').format).toBe('json');
    expect(set(gzipCodec()).encode(LONG).format).toBe('json+gzip');
  });

  it('unfolds nothing beyond its limit, and folds nothing that it would not unfold', () => {
    const wide = set(gzipCodec());
    const narrow = set(gzipCodec({ maxBytes: 2_000 }));
    const bomb = wide.encode(LONG);
    expect(bomb.text.length).toBeLessThan(200);
    expect(thrownBy(() => narrow.decode(bomb))).toMatchObject({ code: 'DBOS_UNDECODABLE_VALUE' });
    expect(narrow.encode(LONG).format).toBe('json');
    expect(narrow.encode(LONG.slice(0, 1_900)).format).toBe('json+gzip');
  });

  it('measures in bytes what is too short', () => {
    const codec = set(gzipCodec({ minBytes: 300 }));
    expect(codec.encode('a'.repeat(297)).format).toBe('json'); // with its quotes 299
    expect(codec.encode('ü'.repeat(149)).format).toBe('json+gzip'); // 300
  });

  it.each([{ minBytes: -1 }, { minBytes: Infinity }, { level: 0 }, { level: 10 }, { level: 1.5 }])(
    'refuses %j',
    (options) => {
      expect(() => gzipCodec(options)).toThrow(`gzipCodec: ${Object.keys(options)[0]} must be`);
    },
  );

  it.each([0, 1.5, Number.NaN])('refuses %d bytes as its limit', (maxBytes) => {
    expect(() => gzipCodec({ maxBytes })).toThrow('gzipCodec: maxBytes must be');
  });

  it('reads what has been damaged as damaged', () => {
    const stored = set(gzipCodec()).encode(LONG);
    expect(thrownBy(() => set(gzipCodec()).decode({ ...stored, text: 'AAAA' }))).toMatchObject({
      code: 'DBOS_UNDECODABLE_VALUE',
    });
  });
});
