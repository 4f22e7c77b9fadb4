/** Gives errors that were read from a checkpoint the classes they had, where these are known. */
import * as controlErrors from '../core/control-errors.js';
import * as errors from '../core/errors.js';
import * as messageErrors from '../core/message-errors.js';
import { ValidationError } from '../core/schema.js';
import * as serializationErrors from '../core/serialization/serialization-error.js';
import * as streamErrors from '../core/stream-errors.js';
import { DbosError } from '../core/errors.js';

/** A class of errors, known by its name. */
export interface ErrorClass {
  readonly name: string;
  readonly prototype: Error;
}

const OWN = Object.values({
  ...errors,
  ...controlErrors,
  ...messageErrors,
  ...serializationErrors,
  ...streamErrors,
  ValidationError,
}).filter((value): value is ErrorClass & typeof value => {
  return typeof value === 'function' && value.prototype instanceof DbosError;
});

/** Only classes that the application or the library names are ever used; nothing is looked up by what data says. */
export function errorRevival(registered: readonly ErrorClass[]): (decoded: Error) => Error {
  const classes = new Map(
    [...OWN, ...registered].map((errorClass) => [errorClass.name, errorClass]),
  );
  return (decoded) => {
    const errorClass = classes.get(decoded.name);
    if (errorClass) Object.setPrototypeOf(decoded, errorClass.prototype);
    return decoded;
  };
}
