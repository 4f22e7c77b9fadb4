/** Which methods can be marked, and what messages call them. */
import { RegistrationError } from '../core/errors.js';

/** A method of a class, as decorators get to see it. */
export interface MarkTarget {
  readonly target: object;
  readonly property: string | symbol;
  readonly descriptor: PropertyDescriptor;
}

/**
 * `Class.method`.
 * @throws RegistrationError unless it is a method with a name, of an instance
 */
export function markPlace(decorator: string, { target, property, descriptor }: MarkTarget): string {
  const isStatic = typeof target === 'function';
  const place = `${isStatic ? target.name : target.constructor.name}.${String(property)}`;
  if (typeof property === 'symbol' || typeof descriptor.value !== 'function') {
    throw new RegistrationError(
      `${decorator} on ${place}: only methods with a name can be marked.`,
    );
  }
  if (isStatic) {
    throw new RegistrationError(
      `${decorator} on static ${place}: mark a method of an injectable instance.`,
    );
  }
  return place;
}
