/** What log lines say of errors: their messages may quote what is confidential. */
import { DbosError, describeError } from './errors.js';
import type { LogFields, Logger } from './logger.js';

/**
 * Makes the text for a log line of the message of an error, in which a card number may stand.
 * What it throws is not logged; then only the name of the error is.
 */
export type Redact = (message: string, error: Error) => string;

/**
 * Log lines give errors as fields, and here they become texts. By default an error of the library says what it says, and
 * of any other only name and code are told, also where one quotes the other: messages of the application may have
 * payloads in them. What stands with the workflow, in `explain` say, is complete.
 */
export function redactingLogger(logger: Logger, redact?: Redact): Logger {
  const told = (fields: LogFields | undefined): LogFields | undefined =>
    fields &&
    Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        key,
        value instanceof Error ? textOf(value, redact) : value,
      ]),
    );
  return {
    debug: (message, fields) => logger.debug(message, told(fields)),
    log: (message, fields) => logger.log(message, told(fields)),
    warn: (message, fields) => logger.warn(message, told(fields)),
    error: (message, fields) => logger.error(message, told(fields)),
  };
}

/** Of what was thrown: something that can stand in a log line. Values that are no errors are payloads. */
export function loggable(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new TypeError(`${typeof thrown} was thrown, which is no Error`);
}

function textOf(error: Error, redact: Redact | undefined): string {
  if (!redact) return withoutForeignWords(error);
  try {
    return `${error.name}: ${redact(error.message, error)}`;
  } catch {
    return error.name;
  }
}

function withoutForeignWords(error: Error): string {
  const { name, message, cause } = error;
  if (!(error instanceof DbosError)) {
    const { code } = error as { readonly code?: unknown };
    return typeof code === 'string' ? `${name} (${code})` : name;
  }
  if (cause === undefined) return `${name}: ${message}`;
  const quoted = cause instanceof Error ? withoutForeignWords(cause) : typeof cause;
  return `${name}: ${message.replaceAll(describeError(cause), quoted)}`;
}
