/** What can go wrong between a value and its stored text. */
import { DbosError } from '../errors.js';

/** A value that cannot be stored so that it comes back the same; thrown before anything is written. */
export class UnserializableValueError extends DbosError {
  readonly code = 'DBOS_UNSERIALIZABLE_VALUE';

  constructor(
    /** Where in the value, such as `order.lines[3].product`. */
    readonly path: string,
    /** What is there, and what to do about it. */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${path} cannot be stored: ${reason}.`, options);
  }
}

/** A value whose text is larger than the configured limit; thrown before anything is written. */
export class ValueTooLargeError extends DbosError {
  readonly code = 'DBOS_VALUE_TOO_LARGE';

  constructor(
    /** Name of the value, such as `value` or `input`. */
    readonly path: string,
    /** Size of the text in UTF-8; `Infinity` when it exceeds what one string can hold. */
    readonly sizeBytes: number,
    readonly maxBytes: number,
  ) {
    super(
      `${path} cannot be stored: its text has ${describeSize(sizeBytes)}, the limit is ${maxBytes} bytes. ` +
        'Keep large data elsewhere (a table, an object store) and pass a reference to it.',
    );
  }
}

/** A stored value names a format that no serializer of this application writes. */
export class UnknownFormatError extends DbosError {
  readonly code = 'DBOS_UNKNOWN_FORMAT';

  constructor(
    readonly format: string,
    readonly knownFormats: readonly string[],
  ) {
    super(
      `A stored value has the format "${format}", which this application cannot read ` +
        `(it reads ${knownFormats.join(', ')}). Configure the serializer named "${format}" for reading.`,
    );
  }
}

/** A stored value went through a codec that this application does not have. */
export class UnknownCodecError extends DbosError {
  readonly code = 'DBOS_UNKNOWN_CODEC';

  constructor(
    readonly codec: string,
    /** What the row says was done to the value. */
    readonly format: string,
    readonly knownCodecs: readonly string[],
  ) {
    super(
      `A stored value of format "${format}" went through the codec "${codec}", which this application does not have ` +
        `(it has ${knownCodecs.join(', ') || 'none'}). Add it to \`codecs\` of DbosModule.forRoot().`,
    );
  }
}

/** A stored value was encrypted with a key that this application does not have. */
export class UnknownCodecKeyError extends DbosError {
  readonly code = 'DBOS_UNKNOWN_CODEC_KEY';

  constructor(
    readonly codec: string,
    readonly keyId: string,
    readonly knownKeyIds: readonly string[],
  ) {
    super(
      `A stored value needs the key "${keyId}" of the codec "${codec}", which this application does not have ` +
        `(it has ${knownKeyIds.join(', ') || 'none'}). Add that key; only the current one writes, all of them read.`,
    );
  }
}

/** A stored text that its own format cannot read: damaged, edited by hand, or of a type not registered here. */
export class UndecodableValueError extends DbosError {
  readonly code = 'DBOS_UNDECODABLE_VALUE';

  constructor(
    readonly format: string,
    /** What is wrong; never quotes the stored text, which may be confidential. */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`A stored value of format "${format}" cannot be read: ${reason}.`, options);
  }
}

function describeSize(sizeBytes: number): string {
  return Number.isFinite(sizeBytes)
    ? `${sizeBytes} bytes`
    : 'more characters than one string can hold';
}
