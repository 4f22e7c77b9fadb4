// Codecs after the serialization: what is stored, what stays readable, and what is said when it does not.
import { aesGcmCodec } from './aes-gcm-codec.js';
import { gzipCodec } from './gzip-codec.js';
import type { PayloadCodec } from './payload-codec.js';
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
    expect(decode({ text: 'AAAA' })).toMatchObject(refused);
    expect(decode({ format: 'superjson+aes-gcm:k1' })).toMatchObject(refused);
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

  it('reads what has been damaged as damaged', () => {
    const stored = set(gzipCodec()).encode(LONG);
    expect(thrownBy(() => set(gzipCodec()).decode({ ...stored, text: 'AAAA' }))).toMatchObject({
      code: 'DBOS_UNDECODABLE_VALUE',
    });
  });
});
