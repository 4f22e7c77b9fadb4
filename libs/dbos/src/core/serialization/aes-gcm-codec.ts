/** Encryption of what is stored: AES-256 in Galois/Counter Mode, with keys that can be changed. */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { InvalidArgumentError } from '../errors.js';
import type { PayloadCodec } from './payload-codec.js';
import { UnknownCodecKeyError } from './serialization-error.js';

export interface AesGcmCodecOptions {
  /** Keys by their ids: 32 bytes, or those in Base64. All of them read. */
  readonly keys: Readonly<Record<string, Uint8Array | string>>;
  /** Id of the key that writes. */
  readonly current: string;
}

const NAME = 'aes-gcm';
const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
/** As long as NIST SP 800-38D wants it, and random: one key is good for 2^32 texts (section 8.3). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID = /^[\w.-]{1,64}$/;

/**
 * Encrypts and authenticates. To change the key, first give all processes the new one, then make it `current`; the former
 * one is needed as long as rows name it in their format (`…+aes-gcm:<id of the key>`).
 *
 * A text is bound to its format and the id of its key, not to its row: a fork has copies of it.
 * @throws InvalidArgumentError for keys of another length, or when `current` names none
 *
 * @example
 * ```ts
 * DbosModule.forRoot({ prisma: PrismaService, codecs: [gzipCodec(), aesGcmCodec({ keys: { k1: secret }, current: 'k1' })] })
 * ```
 */
export function aesGcmCodec({ keys, current }: AesGcmCodecOptions): PayloadCodec {
  const secrets = new Map(Object.entries(keys).map(([id, key]) => [id, secretOf(id, key)]));
  const secretFor = (id: string): KeyObject => {
    const secret = secrets.get(id);
    if (!secret) throw new UnknownCodecKeyError(NAME, id, [...secrets.keys()]);
    return secret;
  };
  if (!secrets.has(current))
    throw new InvalidArgumentError(
      `aesGcmCodec: current is "${current}", but keys has no such key.`,
    );
  return {
    name: NAME,
    encode(text, format) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, secretFor(current), nonce, {
        authTagLength: TAG_BYTES,
      });
      cipher.setAAD(boundTo(format, current));
      const parts = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      return { text: Buffer.concat(parts).toString('base64'), variant: current };
    },
    decode({ text, variant = '' }, format) {
      const secret = secretFor(variant);
      const bytes = Buffer.from(text, 'base64');
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new RangeError('It is too short.');
      const nonce = bytes.subarray(0, NONCE_BYTES);
      const decipher = createDecipheriv(ALGORITHM, secret, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(boundTo(format, variant));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const opened = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      return Buffer.concat([opened, decipher.final()]).toString('utf8');
    },
  };
}

function boundTo(format: string, keyId: string): Buffer {
  return Buffer.from(`nestjs-dbos ${format}+${NAME}:${keyId}`);
}

/** Messages name the id of a key and never quote the key. */
function secretOf(id: string, key: Uint8Array | string): KeyObject {
  if (!KEY_ID.test(id))
    throw new InvalidArgumentError(
      'aesGcmCodec: the id of a key has at most 64 letters, digits, ".", "_" and "-".',
    );
  const bytes = typeof key === 'string' ? Buffer.from(key, 'base64') : key;
  if (bytes instanceof Uint8Array && bytes.length === KEY_BYTES) return createSecretKey(bytes);
  throw new InvalidArgumentError(
    `aesGcmCodec: key "${id}" must have ${KEY_BYTES} bytes, or be those in Base64. Make one with ` +
      '`openssl rand -base64 32`.',
  );
}
