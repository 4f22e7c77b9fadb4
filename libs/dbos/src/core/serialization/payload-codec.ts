/** What is done to stored texts after their serialization, such as encryption: codecs, one around the other. */
import { InvalidArgumentError } from '../errors.js';
import type { EncodedValue } from './format.js';
import {
  UndecodableValueError,
  UnknownCodecError,
  UnknownCodecKeyError,
  UnserializableValueError,
} from './serialization-error.js';

/**
 * Makes another text of each stored text, and the same one again. What it did is written down in the format of the row
 * (`json+gzip+aes-gcm:k1`), so rows outlive a change of codecs: what was written without them is still read.
 */
export interface PayloadCodec {
  /** Stored with every row. Letters, digits, `.`, `_` and `-`, 64 at most. */
  readonly name: string;
  /**
   * @param format of the text: what was done to it before. An encryption authenticates it.
   * @returns undefined to leave this text as it is; it is then stored without the codec
   */
  encode(text: string, format: string): CodecText | undefined;
  /**
   * The text of which `encode` made this one.
   * @throws UnknownCodecKeyError for a variant that is not known here; anything else says that the text is damaged
   */
  decode(encoded: CodecText, format: string): string;
}

/** What a codec makes of a text. */
export interface CodecText {
  readonly text: string;
  /** What `decode` must know besides, such as the id of a key; stored with every row, in the letters of a name. */
  readonly variant?: string;
}

const NAME = /^[\w.-]{1,64}$/;
/** Codecs around one text, when it is read: what damaged formats may ask for is bounded. */
const MAX_CODECS = 16;

/** The codecs of an application: the first comes first after the serialization, the last sees what is stored. */
export class CodecChain {
  private readonly byName: ReadonlyMap<string, PayloadCodec>;

  /** @throws InvalidArgumentError */
  constructor(private readonly codecs: readonly PayloadCodec[]) {
    const byName = new Map<string, PayloadCodec>();
    for (const codec of codecs) {
      if (typeof codec?.name !== 'string' || !NAME.test(codec.name))
        throw new InvalidArgumentError(
          'codecs: a codec needs a name of at most 64 letters, digits, ".", "_" and "-": it is stored on every row.',
        );
      if (byName.has(codec.name))
        throw new InvalidArgumentError(
          `codecs: there are two codecs named "${codec.name}". Give each its own name; several keys belong in one codec.`,
        );
      byName.set(codec.name, codec);
    }
    if (codecs.length > MAX_CODECS)
      throw new InvalidArgumentError(`codecs: at most ${MAX_CODECS}, not ${codecs.length}.`);
    this.byName = byName;
  }

  get isEmpty(): boolean {
    return this.codecs.length === 0;
  }

  /**
   * @param root what messages call the value
   * @throws UnserializableValueError when a codec refuses it; nothing is stored without a codec that failed
   */
  seal(value: EncodedValue, root: string): EncodedValue {
    return this.codecs.reduce((inner, codec) => sealed(inner, codec, root), value);
  }

  /** Undoes one codec. @throws UnknownCodecError, UnknownCodecKeyError, UndecodableValueError */
  private open({ text, format }: EncodedValue): EncodedValue {
    const at = format.lastIndexOf('+');
    const [name = '', variant] = format.slice(at + 1).split(':');
    const inner = format.slice(0, at);
    const codec = this.byName.get(name);
    if (!codec) throw new UnknownCodecError(name, format, [...this.byName.keys()]);
    try {
      const opened = codec.decode({ text, ...(variant !== undefined && { variant }) }, inner);
      if (typeof opened !== 'string') throw new TypeError(`it gave ${typeof opened}, no text`);
      return { text: opened, format: inner };
    } catch (error) {
      if (error instanceof UnknownCodecKeyError || error instanceof UndecodableValueError)
        throw error;
      throw new UndecodableValueError(format, `the codec "${name}" cannot undo it`, {
        cause: error,
      });
    }
  }

  /** The text as it was serialized: under the name of its serializer, in which there is no `+`. */
  openAll(value: EncodedValue): EncodedValue {
    let opened = value;
    for (let undone = 0; undone < MAX_CODECS && opened.format.includes('+'); undone += 1)
      opened = this.open(opened);
    return opened;
  }
}

function sealed(inner: EncodedValue, codec: PayloadCodec, root: string): EncodedValue {
  const refused = (reason: string, options?: ErrorOptions): UnserializableValueError =>
    new UnserializableValueError(root, `the codec "${codec.name}" ${reason}`, options);
  let encoded: CodecText | undefined;
  try {
    encoded = codec.encode(inner.text, inner.format);
  } catch (error) {
    throw refused('failed', { cause: error });
  }
  if (encoded === undefined) return inner;
  const { text, variant } = encoded;
  if (typeof text !== 'string')
    throw refused(`gave ${typeof text}, no text (it must not be async)`);
  if (text.includes('\0') || /\p{Surrogate}/u.test(text))
    throw refused('gave a text that PostgreSQL cannot hold');
  if (variant !== undefined && !NAME.test(variant)) throw refused('gave a variant that is no name');
  return {
    text,
    format: `${inner.format}+${codec.name}${variant === undefined ? '' : `:${variant}`}`,
  };
}
