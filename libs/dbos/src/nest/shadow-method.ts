/** Puts a method in the place of another, on one instance. */
import { RegistrationError } from '../core/errors.js';

export type Method = (...args: unknown[]) => unknown;
type Body = (self: unknown, args: unknown[]) => unknown;

/**
 * A proxy rather than a closure: a mock function keeps what its test asks it for, and the metadata of other decorators
 * stays readable.
 * @param place the class and method, for messages
 * @returns gives the instance its own method back; undefined when it has none, as a mock that leaves it out
 * @throws RegistrationError when the instance is frozen
 */
export function shadowMethod(
  instance: object,
  method: string,
  place: string,
  bodyOf: (original: Method) => Body,
): (() => void) | undefined {
  const original: unknown = Reflect.get(instance, method);
  if (typeof original !== 'function') return undefined;
  const own = Object.getOwnPropertyDescriptor(instance, method);
  const body = bodyOf(original as Method);
  const value = new Proxy(original, {
    apply: (_target, self, args: unknown[]) => body(self, args),
  });
  copyMetadata(original, value);
  const descriptor = {
    value,
    configurable: true,
    writable: true,
    enumerable: own?.enumerable ?? false,
  };
  if (!Reflect.defineProperty(instance, method, descriptor)) {
    throw new RegistrationError(
      `${place} cannot be bound: its instance is frozen. Provide an object that can be extended.`,
    );
  }
  return () => {
    if (own) Object.defineProperty(instance, method, own);
    else Reflect.deleteProperty(instance, method);
  };
}

/** reflect-metadata keeps it by identity, and a proxy has one of its own. */
function copyMetadata(from: object, to: object): void {
  for (const key of Reflect.getMetadataKeys(from) as unknown[]) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, from), to);
  }
}
