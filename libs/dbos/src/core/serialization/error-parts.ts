/** What is kept of an error, and how an error is made of it again. */

/** The parts of an error that matter after its class is gone. */
export interface ErrorParts {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Present when the error has a cause, be it `undefined`. */
  readonly cause?: unknown;
  /** The errors of an AggregateError. Where `errors` is enumerable it is a field like any other. */
  readonly errors?: readonly unknown[];
  /** `code`, and every own enumerable property besides the above. */
  readonly fields: readonly ErrorField[];
}

export type ErrorField = readonly [key: string, value: unknown];

/** An error as it is: the fields come as descriptors, so that no getter has been run. */
export interface LiveErrorParts extends Omit<ErrorParts, 'fields'> {
  readonly fields: readonly (readonly [key: string, property: PropertyDescriptor])[];
}

const STANDARD_PROPERTIES: ReadonlySet<string> = new Set(['name', 'message', 'stack', 'cause']);

/** Takes an error apart. Throws only where the error itself does, as a getter for its `cause` may. */
export function readErrorParts(error: Error): LiveErrorParts {
  return {
    ...readErrorTexts(error),
    ...readCause(error),
    ...readErrors(error),
    fields: readFields(error),
  };
}

/** The texts of an error, as far as they can be read. Never throws. */
export function readErrorTexts(error: Error): Pick<ErrorParts, 'name' | 'message' | 'stack'> {
  const stack = read(error, 'stack');
  return {
    name: text(read(error, 'name')) ?? 'Error',
    message: text(read(error, 'message')) ?? '',
    ...(typeof stack === 'string' && { stack }),
  };
}

/** A new error with these parts. Always a plain `Error`: no class is ever looked up by a stored name. */
export function makeError(parts: ErrorParts): Error {
  return fillError(new Error(), parts);
}

/** Gives `error` these parts; apart from `makeError` because the cause of an error may be the error itself. */
export function fillError(error: Error, parts: ErrorParts): Error {
  define(error, 'name', parts.name);
  define(error, 'message', parts.message);
  // Also when there is none: the stack of this very call would be a lie. Assigned, as defining it would first format
  // that one.
  error.stack = parts.stack;
  if ('cause' in parts) define(error, 'cause', parts.cause);
  if (parts.errors !== undefined) define(error, 'errors', parts.errors);
  for (const [key, value] of parts.fields) define(error, key, value, 'enumerable');
  return error;
}

function define(error: Error, key: string, value: unknown, enumerable?: 'enumerable'): void {
  Object.defineProperty(error, key, {
    value,
    enumerable: enumerable !== undefined,
    writable: true,
    configurable: true,
  });
}

/** A property, own or of the class; nothing when it cannot be read. */
function read(error: Error, key: string): unknown {
  try {
    return (error as unknown as Record<string, unknown>)[key];
  } catch {
    return undefined;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function readCause(error: Error): { readonly cause?: unknown } {
  return Object.hasOwn(error, 'cause') || error.cause !== undefined ? { cause: error.cause } : {};
}

function readErrors(error: Error): { readonly errors?: readonly unknown[] } {
  const property = Object.getOwnPropertyDescriptor(error, 'errors');
  return property && !property.enumerable && Array.isArray(property.value)
    ? { errors: property.value }
    : {};
}

function readFields(error: Error): LiveErrorParts['fields'] {
  const fields = Object.keys(error)
    .filter((key) => !STANDARD_PROPERTIES.has(key))
    .map((key) => [key, Object.getOwnPropertyDescriptor(error, key) ?? {}] as const);
  return fields.some(([key]) => key === 'code') ? fields : [...readHiddenCode(error), ...fields];
}

/** A `code` that is not an own enumerable property: programs match on it, wherever a class has put it. */
function readHiddenCode(error: Error): LiveErrorParts['fields'] {
  const code = read(error, 'code');
  return typeof code === 'string' || typeof code === 'number' ? [['code', { value: code }]] : [];
}
