/** Values and their stored text: the port for serializers, and the set of them that an application reads with. */
import { InvalidArgumentError } from '../errors.js';
import { encodeThrown } from './error-encoding.js';
import { errorFromRecord } from './error-record.js';
import {
  type EncodedValue,
  PLAIN_JSON_FORMAT,
  type Serializer,
  SUPERJSON_FORMAT,
} from './format.js';
import { DEFAULT_MAX_BYTES } from './limits.js';
import { CodecChain, type PayloadCodec } from './payload-codec.js';
import { isPlainJson, plainJsonSerializer } from './plain-json.js';
import {
  UndecodableValueError,
  UnknownFormatError,
  UnserializableValueError,
  ValueTooLargeError,
} from './serialization-error.js';
import { isStackOverflow } from './stack-overflow.js';
import { createSuperjsonSerializer } from './superjson-serializer.js';

export type { EncodedValue, PayloadCodec, Serializer };

export interface SerializerSetOptions {
  /** Writes all values. Default: `createSuperjsonSerializer()`. */
  readonly primary?: Serializer;
  /** Read what they wrote earlier; `json` and `superjson` are always read. */
  readonly others?: readonly Serializer[];
  /** What is done to every text after its serialization, in this order; see `PayloadCodec`. Default: nothing. */
  readonly codecs?: readonly PayloadCodec[];
  /** Largest text to store, in bytes of UTF-8, after the codecs. Default: 16 MiB. */
  readonly maxBytes?: number;
  /** May give a decoded error its class back. Asked for every error of a chain, innermost first. */
  readonly revive?: (decoded: Error) => Error;
}

/** Writes with one serializer and reads with all of them. */
export class SerializerSet {
  private readonly primary: Serializer;
  private readonly readers: ReadonlyMap<string, Serializer>;
  private readonly maxBytes: number;
  private readonly revive: (decoded: Error) => Error;
  private readonly codecs: CodecChain;

  /** @throws InvalidArgumentError */
  constructor(private readonly options: SerializerSetOptions = {}) {
    this.primary = options.primary ?? createSuperjsonSerializer();
    this.readers = readersByName([this.primary, ...(options.others ?? [])]);
    this.maxBytes = checkedLimit(options.maxBytes ?? DEFAULT_MAX_BYTES);
    this.revive = options.revive ?? ((decoded) => decoded);
    this.codecs = new CodecChain(options.codecs ?? []);
  }

  /** The same with these codecs. @throws InvalidArgumentError when it has codecs already */
  withCodecs(codecs: readonly PayloadCodec[]): SerializerSet {
    if (!this.codecs.isEmpty)
      throw new InvalidArgumentError(
        'codecs are given twice: to the SerializerSet and beside it. Give them once.',
      );
    return new SerializerSet({ ...this.options, codecs });
  }

  /**
   * The text to store for `value`. `decode` makes an equal value of it: equal in every part, in what is one object
   * and what are two, and in its prototypes, error classes aside.
   * @param root what messages call the value: they say `order.lines[3].product` when it is `order`
   * @throws UnserializableValueError | ValueTooLargeError
   */
  encode(value: unknown, root = 'value'): EncodedValue {
    const serialized = this.serialized(value, root);
    const stored = this.codecs.isEmpty ? serialized : this.codecs.seal(serialized, root);
    this.assertSize(stored.text, root);
    return stored;
  }

  /** A text of another kind than values, through the codecs. @throws UnserializableValueError, ValueTooLargeError */
  seal(value: EncodedValue, root: string): EncodedValue {
    const stored = this.codecs.seal(value, root);
    this.assertSize(stored.text, root);
    return stored;
  }

  /**
   * What `seal` was given.
   * @throws UnknownCodecError, UnknownCodecKeyError, UndecodableValueError
   */
  open(stored: EncodedValue): EncodedValue {
    return this.codecs.openAll(stored);
  }

  get hasCodecs(): boolean {
    return !this.codecs.isEmpty;
  }

  /** Whether one text went the same way as the other and comes from the same: an encryption makes each look new. */
  isSame(stored: EncodedValue, fresh: EncodedValue): boolean {
    if (stored.format !== fresh.format) return false;
    if (stored.text === fresh.text) return true;
    try {
      return this.open(stored).text === this.open(fresh).text;
    } catch {
      return false; // what stands cannot be read
    }
  }

  private serialized(value: unknown, root: string): EncodedValue {
    const plain = this.primary.acceptsPlainJson === true && isPlainJson(value);
    const serializer = plain ? plainJsonSerializer : this.primary;
    return { text: this.serializedBy(serializer, value, root), format: serializer.name };
  }

  /** @throws UnknownFormatError | UnknownCodecError | UnknownCodecKeyError | UndecodableValueError */
  decode(stored: EncodedValue): unknown {
    const known = this.readers.get(stored.format);
    return known ? deserialized(known, stored.text) : this.decodeOpened(this.open(stored));
  }

  private decodeOpened({ text, format }: EncodedValue): unknown {
    const serializer = this.readers.get(format);
    if (!serializer) throw new UnknownFormatError(format, [...this.readers.keys()]);
    return deserialized(serializer, text);
  }

  /** The text to store for whatever was thrown. Never throws: an error that cannot be recorded would be lost. */
  encodeError(thrown: unknown): EncodedValue {
    return encodeThrown(
      thrown,
      (record) => this.encode(record, 'error'),
      // Of each part, so without the codecs.
      (part) => this.assertSize(this.serialized(part, 'error').text, 'error'),
    );
  }

  /**
   * The error that was recorded: an `Error` with the name, message, stack, code, cause and fields of the original.
   * Match on `name` or `code`; its class is only there if `revive` knows it.
   * @throws UnknownFormatError | UndecodableValueError
   */
  decodeError(encoded: EncodedValue): Error {
    const record = this.decode(encoded);
    try {
      return errorFromRecord(record, this.revive);
    } catch (error) {
      throw new UndecodableValueError(encoded.format, 'it is no record of an error', {
        cause: error,
      });
    }
  }

  private serializedBy(serializer: Serializer, value: unknown, root: string): string {
    const text = this.attempt(serializer, value, root);
    // Not for JSON: it escapes both, and this is the hot path.
    const fault = serializer === plainJsonSerializer ? undefined : textFault(text);
    if (fault)
      throw new UnserializableValueError(
        root,
        `the serializer "${serializer.name}" returned ${fault}`,
      );
    return text;
  }

  private attempt(serializer: Serializer, value: unknown, root: string): string {
    try {
      return serializer.serialize(value, root);
    } catch (error) {
      if (error instanceof UnserializableValueError) throw error;
      if (isStackOverflow(error))
        throw new UnserializableValueError(root, 'it is nested too deeply');
      if (error instanceof RangeError && error.message.includes('string length')) {
        throw new ValueTooLargeError(root, Number.POSITIVE_INFINITY, this.maxBytes);
      }
      throw new UnserializableValueError(root, `the serializer "${serializer.name}" refused it`, {
        cause: error,
      });
    }
  }

  private assertSize(text: string, root: string): void {
    // A character takes at most three bytes, so most texts need not be measured.
    if (text.length * 3 <= this.maxBytes) return;
    const sizeBytes = Buffer.byteLength(text);
    if (sizeBytes > this.maxBytes) throw new ValueTooLargeError(root, sizeBytes, this.maxBytes);
  }
}

function deserialized(serializer: Serializer, text: string): unknown {
  try {
    return serializer.deserialize(text);
  } catch (error) {
    if (error instanceof UndecodableValueError) throw error;
    throw new UndecodableValueError(serializer.name, 'its serializer failed', { cause: error });
  }
}

function readersByName(configured: readonly Serializer[]): ReadonlyMap<string, Serializer> {
  const readers = new Map([[PLAIN_JSON_FORMAT, plainJsonSerializer]]);
  for (const serializer of configured) {
    if (typeof serializer.name !== 'string' || serializer.name === '') {
      throw new InvalidArgumentError(
        'A serializer needs a name: it is stored on every row that it writes.',
      );
    }
    if (serializer.name.includes('+')) {
      throw new InvalidArgumentError(
        `The serializer name "${serializer.name}" must be one without "+", which names codecs in a format.`,
      );
    }
    if (readers.has(serializer.name)) {
      throw new InvalidArgumentError(
        `The serializer name "${serializer.name}" is taken. Give each serializer its own; "json" is the library's.`,
      );
    }
    readers.set(serializer.name, serializer);
  }
  if (!readers.has(SUPERJSON_FORMAT)) readers.set(SUPERJSON_FORMAT, createSuperjsonSerializer());
  return readers;
}

function checkedLimit(maxBytes: number): number {
  if (maxBytes > 0) return maxBytes;
  throw new InvalidArgumentError(
    `serializer: maxBytes must be a number above 0, not ${String(maxBytes)}.`,
  );
}

/** What PostgreSQL would refuse or change in a TEXT. Our own formats escape both. */
function textFault(text: unknown): string | undefined {
  if (typeof text !== 'string') return `${typeof text} instead of text (it must not be async)`;
  if (text.includes('\0')) return 'text with a NUL character, which PostgreSQL refuses';
  if (/\p{Surrogate}/u.test(text))
    return 'text with half of a surrogate pair, which UTF-8 cannot hold';
  return undefined;
}
