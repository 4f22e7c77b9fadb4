/** Compression of what is stored. */
import { constants, gunzipSync, gzipSync } from 'node:zlib';
import { InvalidArgumentError } from '../errors.js';
import type { PayloadCodec } from './payload-codec.js';

export interface GzipCodecOptions {
  /** Shorter texts stay as they are. Default 1,024 bytes: below that there is little to win. */
  readonly minBytes?: number;
  /** From 1, fast, to 9, small. Default 6. */
  readonly level?: number;
  /**
   * Most that one text may unfold to: bounds what a damaged row can cost. Longer ones are not compressed either. Default
   * 256 MiB; lower it only where nothing longer is stored.
   */
  readonly maxBytes?: number;
}

const DEFAULT_MAX_BYTES = 256 * 1024 * 1024;

/**
 * Compresses texts that become shorter by it. It belongs before an encryption: what is encrypted cannot be compressed.
 * Where an outsider decides on parts of a text with secrets in it and sees how long rows are, compress nothing.
 * @throws InvalidArgumentError
 */
export function gzipCodec({
  minBytes = 1_024,
  level = 6,
  maxBytes = DEFAULT_MAX_BYTES,
}: GzipCodecOptions = {}): PayloadCodec {
  if (!(Number.isFinite(minBytes) && minBytes >= 0))
    throw new InvalidArgumentError(
      `gzipCodec: minBytes must be a finite number of at least 0, not ${String(minBytes)}.`,
    );
  if (!(Number.isInteger(level) && level >= 1 && level <= constants.Z_BEST_COMPRESSION))
    throw new InvalidArgumentError(
      `gzipCodec: level must be a whole number from 1 to 9, not ${String(level)}.`,
    );
  if (!(Number.isInteger(maxBytes) && maxBytes >= 1))
    throw new InvalidArgumentError(
      `gzipCodec: maxBytes must be a whole number of at least 1, not ${String(maxBytes)}.`,
    );
  return {
    name: 'gzip',
    encode(text) {
      if (text.length * 3 < minBytes) return undefined; // a character has at most three bytes
      const bytes = Buffer.from(text, 'utf8');
      if (bytes.length < minBytes || bytes.length > maxBytes) return undefined;
      const folded = gzipSync(bytes, { level }).toString('base64');
      return folded.length < bytes.length ? { text: folded } : undefined;
    },
    decode: ({ text }) =>
      gunzipSync(Buffer.from(text, 'base64'), { maxOutputLength: maxBytes }).toString('utf8'),
  };
}
