/**
 * Describes anything that was thrown as a record that can be stored.
 *
 * Unlike a value, an error is never refused: a failure that cannot be recorded would be lost. What cannot be kept of
 * it is replaced by a text that says so, at the place where it was.
 */
import { inspect } from 'node:util';
import { type LiveErrorParts, readErrorParts, readErrorTexts } from './error-parts.js';
import { type ErrorRecord, errorFromRecord, type RecordedPart } from './error-record.js';
import { UnserializableValueError, ValueTooLargeError } from './serialization-error.js';
import { isError, kindOf } from './value-kind.js';

/** Name of the error that stands for a thrown value that is no error; its field `thrown` holds the value. */
export const NON_ERROR_NAME = 'NonError';

/** Errors in a chain of causes; what lies deeper explains nothing any more. */
const MAX_CHAIN = 16;

/** Errors and fields looked at in one description: errors can refer to each other in more ways than can be stored. */
const MAX_PARTS = 10_000;

/** Levels of a field that are searched for what can be kept of it. */
const MAX_FIELD_DEPTH = 8;

/** Characters of the look at a thrown value that is no error. */
const MAX_LOOK = 200;

/** Characters of each text of a brief description. */
const MAX_BRIEF_TEXT = 16_384;

/** Throws when a value cannot be stored. */
export type StorageCheck = (value: unknown) => void;

/** Everything that can be kept of `thrown`. */
export function describeThrown(thrown: unknown, assertStorable: StorageCheck): ErrorRecord {
  return new Description(assertStorable).describe(thrown);
}

/** Name, message and stack of `thrown`, shortened: for when the rest is too much for a row or a serializer. */
export function describeBriefly(thrown: unknown): ErrorRecord {
  const { name, message, stack } = describeThrown(thrown, () => undefined);
  return {
    name: shortened(name, MAX_BRIEF_TEXT),
    message: shortened(message, MAX_BRIEF_TEXT),
    ...(stack !== undefined && { stack: shortened(stack, MAX_BRIEF_TEXT) }),
  };
}

class Description {
  private parts = 0;
  /** The errors around the one being described. */
  private readonly chain: Error[] = [];

  constructor(private readonly assertStorable: StorageCheck) {}

  describe(thrown: unknown): ErrorRecord {
    return isError(thrown) ? this.describeError(thrown) : this.describeNonError(thrown);
  }

  private describeError(error: Error): ErrorRecord {
    const parts: LiveErrorParts = attempt(() => readErrorParts(error)) ?? {
      ...readErrorTexts(error),
      fields: [],
    };
    this.chain.push(error);
    const record: ErrorRecord = {
      name: parts.name,
      message: parts.message,
      ...(parts.stack !== undefined && { stack: parts.stack }),
      ...('cause' in parts && { cause: this.describePart(parts.cause) }),
      ...(parts.errors && { errors: this.listed(parts.errors, (part) => this.describePart(part)) }),
      ...(parts.fields.length > 0 && { fields: this.keepableProperties(parts.fields, 0) }),
    };
    this.chain.pop();
    return record;
  }

  /** A thrown text is a message; of anything else the message is a look at it. */
  private describeNonError(thrown: unknown): ErrorRecord {
    return {
      name: NON_ERROR_NAME,
      message:
        typeof thrown === 'string' ? thrown : `${look(thrown)} was thrown, which is no Error`,
      fields: { thrown: this.keepable(thrown, 0) },
    };
  }

  private describePart(part: unknown): RecordedPart {
    if (!isError(part)) return { value: this.keepable(part, 0) };
    this.parts += 1;
    const reason = this.reasonToLeaveOut(part);
    return reason === undefined
      ? { error: this.describeError(part) }
      : { value: notStored(reason) };
  }

  private reasonToLeaveOut(error: Error): string | undefined {
    if (this.chain.includes(error)) return 'an error around this one, again';
    if (this.chain.length >= MAX_CHAIN) return `more than ${MAX_CHAIN} errors in each other`;
    return this.parts > MAX_PARTS ? 'too many parts' : undefined;
  }

  /** `value`, or as much of it as can be stored, with a text in place of each part that cannot. */
  private keepable(value: unknown, depth: number): unknown {
    if (isError(value)) return this.keepableError(value);
    this.parts += 1;
    if (this.parts > MAX_PARTS) return notStored('too many parts');
    const reason = this.reasonToRefuse(value);
    if (reason === undefined) return value;
    return attempt(() => this.keepableParts(value, depth + 1)) ?? notStored(reason);
  }

  /** A plain copy of the error: its class may have parts that cannot be stored. */
  private keepableError(error: Error): unknown {
    const part = this.describePart(error);
    if ('value' in part) return part.value;
    const copy = errorFromRecord(part.error, (decoded) => decoded);
    const reason = this.reasonToRefuse(copy);
    return reason === undefined ? copy : notStored(reason);
  }

  /** A copy of an array or ordinary object that cannot be stored as a whole; nothing for other kinds. */
  private keepableParts(value: unknown, depth: number): unknown {
    if (typeof value !== 'object' || value === null || depth > MAX_FIELD_DEPTH) return undefined;
    switch (kindOf(value)) {
      case 'array':
        return this.listed(value as unknown[], (item) => this.keepable(item, depth));
      case 'object':
      case 'dictionary':
        return this.keepableProperties(enumerableProperties(value), depth);
      default:
        return undefined;
    }
  }

  /** No further than there is room for: an array may claim to have four billion items. */
  private listed<T>(items: readonly unknown[], describe: (item: unknown) => T): T[] {
    const described = Array.from(items.slice(0, MAX_PARTS), describe);
    const rest = items.length - described.length;
    return rest > 0 ? [...described, describe(notStored(`${rest} more items`))] : described;
  }

  private keepableProperties(
    properties: LiveErrorParts['fields'],
    depth: number,
  ): Record<string, unknown> {
    return Object.fromEntries(
      properties.map(([key, property]) => [
        key,
        'value' in property ? this.keepable(property.value, depth) : notStored('a getter'),
      ]),
    );
  }

  private reasonToRefuse(value: unknown): string | undefined {
    try {
      this.assertStorable(value);
      return undefined;
    } catch (error) {
      if (error instanceof ValueTooLargeError) return 'it is too large';
      return error instanceof UnserializableValueError ? error.reason : 'the serializer refused it';
    }
  }
}

/** What stands in place of something that is not in the record; to be seen by whoever looks for it. */
function notStored(reason: string): string {
  return `[not stored: ${reason}]`;
}

function enumerableProperties(object: object): LiveErrorParts['fields'] {
  return Object.keys(object).map(
    (key) => [key, Object.getOwnPropertyDescriptor(object, key) ?? {}] as const,
  );
}

function look(value: unknown): string {
  const text = attempt(() =>
    inspect(value, { depth: 1, breakLength: Infinity, maxStringLength: MAX_LOOK }),
  );
  return shortened(text ?? 'A value that cannot be looked at', MAX_LOOK);
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}… (${text.length} characters)` : text;
}

/** The result, or nothing when code of the thrown value threw again. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
