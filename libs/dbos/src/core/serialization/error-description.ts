/**
 * Describes anything that was thrown as a record that can be stored.
 *
 * Unlike a value, an error is never refused: a failure that cannot be recorded would be lost. What cannot be kept of
 * it is replaced by a text that says so, at the place where it was.
 */
import { inspect } from 'node:util';
import { type LiveErrorParts, makeError, readErrorParts } from './error-parts.js';
import { lower } from './lowering.js';
import { UnserializableValueError } from './serialization-error.js';
import { isError, kindOf } from './value-kind.js';

/** An error as it is stored; JSON data as long as its fields are. */
export interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: RecordedPart;
  readonly errors?: readonly RecordedPart[];
  readonly fields?: readonly (readonly [key: string, value: unknown])[];
}

/** A cause, or one of several errors: most often an error itself, but anything may stand there. */
export type RecordedPart = { readonly error: ErrorRecord } | { readonly value: unknown };

/** Name of the error that stands for a thrown value that is no error. */
export const NON_ERROR_NAME = 'NonError';

/** Errors in a chain of causes; deeper ones say nothing new. */
const MAX_CHAIN = 16;

/** Errors and parts of fields looked at in one error. Errors can refer to each other in more ways than can be stored. */
const MAX_PARTS = 10_000;

/** Levels of a field that are searched for what can be kept of it. */
const MAX_FIELD_DEPTH = 8;

/** Levels of nesting in a field that can be kept whole. */
const MAX_KEPT_DEPTH = 200;

/** Characters of a text in the record of last resort. */
const MAX_BARE_TEXT = 16_384;

/** Everything that can be kept of `thrown`. */
export function describeThrown(thrown: unknown): ErrorRecord {
  return new Description().describe(thrown);
}

/** Name, message and stack of `thrown`, shortened: for when the rest is too much for a row or a serializer. */
export function describeBriefly(thrown: unknown): ErrorRecord {
  const { name, message, stack } = describeThrown(thrown);
  return {
    name: name.slice(0, MAX_BARE_TEXT),
    message: shortened(message),
    ...(stack !== undefined && { stack: shortened(stack) }),
  };
}

class Description {
  private parts = 0;
  /** The errors around the one being described: a cause that is one of them would never end. */
  private readonly chain: unknown[] = [];

  describe(thrown: unknown): ErrorRecord {
    return isError(thrown) ? this.describeError(thrown) : this.describeNonError(thrown);
  }

  private describeError(error: Error): ErrorRecord {
    const parts = attempt(() => readErrorParts(error));
    if (!parts) return { name: 'Error', message: notStored('reading the error failed') };
    this.chain.push(error);
    const record = {
      name: parts.name,
      message: parts.message,
      ...(parts.stack !== undefined && { stack: parts.stack }),
      ...('cause' in parts && { cause: this.describePart(parts.cause) }),
      ...(parts.errors && { errors: Array.from(parts.errors, (part) => this.describePart(part)) }),
      ...this.describeFields(parts.fields),
    };
    this.chain.pop();
    return record;
  }

  /** A thrown string is a message; of anything else the message is a look at it. */
  private describeNonError(thrown: unknown): ErrorRecord {
    const message = typeof thrown === 'string' ? thrown : `${look(thrown)} was thrown, which is no Error`;
    return { name: NON_ERROR_NAME, message, fields: [['thrown', this.keepable(thrown, 0)]] };
  }

  private describePart(part: unknown): RecordedPart {
    if (!isError(part)) return { value: this.keepable(part, 0) };
    const refusal = this.refusalOf(part);
    return refusal === undefined ? { error: this.describeError(part) } : { value: notStored(refusal) };
  }

  private describeFields(fields: LiveErrorParts['fields']): Pick<ErrorRecord, 'fields'> {
    if (fields.length === 0) return {};
    return { fields: fields.map(([key, property]) => [key, this.keepableProperty(property, 0)] as const) };
  }

  private keepableProperty(property: PropertyDescriptor, depth: number): unknown {
    return 'value' in property ? this.keepable(property.value, depth) : notStored('a getter');
  }

  /** `value`, or as much of it as can be stored, with a text in place of each part that cannot. */
  private keepable(value: unknown, depth: number): unknown {
    this.parts += 1;
    if (this.parts > MAX_PARTS) return notStored('too many parts');
    try {
      return isError(value) ? this.keepableError(value) : this.kept(value);
    } catch (error) {
      return depth < MAX_FIELD_DEPTH ? this.keepableParts(value, depth, error) : notStored(reasonOf(error));
    }
  }

  /** @throws UnserializableValueError when some part of it cannot be stored */
  private kept(value: unknown): unknown {
    lower(value, { root: 'field', types: NO_TYPES, maxDepth: MAX_KEPT_DEPTH });
    return value;
  }
}
