/** What callers give: checked for its kind before anything is read of it, and shown in messages whatever it is. */
import { InvalidArgumentError } from './errors.js';
import { shown } from './shown.js';

/**
 * Options as callers without a compiler give them.
 * @throws InvalidArgumentError for anything but an object
 */
export function givenOptions<T extends object>(operation: string, options: T): T {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options;
  throw new InvalidArgumentError(
    `${operation} takes its options as an object, not ${shown(options)}.`,
  );
}

/** @throws InvalidArgumentError for anything but an array */
export function givenList<T>(what: string, list: readonly T[]): readonly T[] {
  if (Array.isArray(list)) return list as readonly T[];
  throw new InvalidArgumentError(`${what} must be an array, not ${shown(list)}.`);
}

/** @throws InvalidArgumentError for anything that cannot be called */
export function givenFunction<F extends (...args: never[]) => unknown>(what: string, body: F): F {
  if (typeof body === 'function') return body;
  throw new InvalidArgumentError(`${what} must be a function, not ${shown(body)}.`);
}
