/** An error as it is stored, and the error made of it. */
import { makeError } from './error-parts.js';

/** The parts of an error as data; JSON data as long as its fields are. */
export interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** There when the error had a cause. */
  readonly cause?: RecordedPart;
  /** The errors of an AggregateError. */
  readonly errors?: readonly RecordedPart[];
  /** `code` and all other own enumerable properties. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** A cause, or one of several errors: mostly an error itself, but anything may stand there. */
export type RecordedPart = { readonly error: ErrorRecord } | { readonly value: unknown };

/**
 * The error of a record: always an `Error`, unless `revive` gives it another class.
 * @throws when it is none, as after a change by hand
 */
export function errorFromRecord(record: unknown, revive: (error: Error) => Error): Error {
  if (!isErrorRecord(record)) throw new TypeError('no record of an error');
  const { name, message, stack, cause, errors, fields } = record;
  return revive(
    makeError({
      name,
      message,
      ...(typeof stack === 'string' && { stack }),
      ...(cause && { cause: partFromRecord(cause, revive) }),
      ...(Array.isArray(errors) && {
        errors: errors.map((part: RecordedPart) => partFromRecord(part, revive)),
      }),
      fields: Object.entries(fields ?? {}),
    }),
  );
}

function partFromRecord(part: RecordedPart, revive: (error: Error) => Error): unknown {
  return 'error' in part ? errorFromRecord(part.error, revive) : part.value;
}

function isErrorRecord(record: unknown): record is ErrorRecord {
  if (typeof record !== 'object' || record === null) return false;
  const { name, message } = record as Partial<ErrorRecord>;
  return typeof name === 'string' && typeof message === 'string';
}
