/** Puts a method in the place of another, on one instance, for the life of one application. */
import { RegistrationError } from '../core/errors.js';

export type Method = (...args: unknown[]) => unknown;
type Body = (self: unknown, args: unknown[]) => unknown;

/** Asked of a shadow, tells what it is; nothing else answers to it. */
const SHADOW = Symbol('nestjs-dbos:shadow');

/** Two applications may share an instance; then their shadows lie on top of each other. */
class Shadow {
  /** False once its application has ended: calls pass through. */
  isActive = true;

  /** @param own what the instance itself had before; undefined when the method came from its class */
  constructor(
    readonly original: Method,
    readonly own: PropertyDescriptor | undefined,
  ) {}
}

/**
 * A proxy rather than a closure: a mock function keeps what its test asks it for, and the metadata of other decorators
 * stays readable.
 * @param place the class and method, for messages
 * @returns ends the shadow; undefined when the instance has no such method, as a mock that leaves it out
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
  const shadow = new Shadow(original as Method, own);
  const value = proxyOf(shadow, bodyOf(shadow.original));
  const enumerable = own?.enumerable ?? false;
  const descriptor = { value, configurable: true, writable: true, enumerable };
  if (!Reflect.defineProperty(instance, method, descriptor)) {
    throw new RegistrationError(
      `${place} cannot be bound: its instance is frozen. Provide an object that can be extended.`,
    );
  }
  return () => {
    shadow.isActive = false;
    if (Reflect.get(instance, method) === value) restore(instance, method, shadow);
  };
}

/** The method below all shadows. */
export function unshadowed(method: Method): Method {
  const shadow = shadowOf(method);
  return shadow ? unshadowed(shadow.original) : method;
}

function proxyOf(shadow: Shadow, body: Body): Method {
  const { original } = shadow;
  const value = new Proxy(original, {
    apply: (_target, self, args: unknown[]) =>
      shadow.isActive ? body(self, args) : Reflect.apply(original, self, args),
    get: (target, key, receiver): unknown =>
      key === SHADOW ? shadow : Reflect.get(target, key, receiver),
  });
  // reflect-metadata keeps it by identity, and a proxy has one of its own.
  for (const key of Reflect.getMetadataKeys(original) as unknown[]) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, original), value);
  }
  return value;
}

/** Puts back what was there before, below any shadow whose application has ended meanwhile. */
function restore(instance: object, method: string, { own }: Shadow): void {
  const below = own && shadowOf(own.value);
  if (below && !below.isActive) return restore(instance, method, below);
  if (own) Object.defineProperty(instance, method, own);
  else Reflect.deleteProperty(instance, method);
}

/** A mock may answer to everything; only a shadow answers with one. */
function shadowOf(value: unknown): Shadow | undefined {
  const answer: unknown = typeof value === 'function' ? Reflect.get(value, SHADOW) : undefined;
  return answer instanceof Shadow ? answer : undefined;
}
