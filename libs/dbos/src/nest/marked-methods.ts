/** Which methods of a provider are marked, and what each is called. */
import type { Type } from '@nestjs/common';
import { RegistrationError } from '../core/errors.js';
import { marksOf, type Marks } from './decorators.js';
import type { Wrapper } from './provider-instances.js';

export interface MarkedMethod {
  readonly method: string;
  /** `Class.method`: the name of the step or workflow, unless its mark has one. */
  readonly place: string;
  readonly marks: Marks;
}

/** What is asked of a wrapper; a class alone will do. */
type Provider = Pick<Wrapper, 'token' | 'metatype'> & { readonly inject?: unknown };

/**
 * The marks of an instance are those of its own class. Where that is another class than the token, as with a mock or a
 * fake, the marks of the token's class count as well, for methods that have none of their own: who injects the token
 * reads them there.
 */
export function markedMethods(provider: Provider, instance: unknown): MarkedMethod[] {
  const own = ownClass(provider, instance);
  const token = isClass(provider.token) ? provider.token : undefined;
  const marked = own ? marksOfClass(own) : new Map<string, MarkedMethod>();
  if (!token || token === own) return [...marked.values()];
  return [...new Map([...marksOfClass(token), ...marked]).values()];
}

function ownClass({ metatype, inject }: Provider, instance: unknown): Type | undefined {
  if (!inject && isClass(metatype)) return metatype;
  return typeof instance === 'object' && instance !== null
    ? (instance.constructor as Type | undefined)
    : undefined;
}

/** Read from prototypes only, so that no getter of an instance is ever called. */
function marksOfClass(type: Type): Map<string, MarkedMethod> {
  const marked = new Map<string, MarkedMethod>();
  for (const prototype of prototypesOf(type)) {
    for (const method of Object.getOwnPropertyNames(prototype)) {
      if (marked.has(method)) continue;
      const marks = marksOf(type.prototype as object, method);
      if (Object.values(marks).some((mark) => mark !== undefined)) {
        marked.set(method, { method, place: placeOf(type, method), marks });
      }
    }
  }
  return marked;
}

function* prototypesOf(type: Type): Iterable<object> {
  let prototype = type.prototype as object | null;
  while (prototype && prototype !== Object.prototype) {
    yield prototype;
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
}

function placeOf(type: Type, method: string): string {
  if (type.name !== '') return `${type.name}.${method}`;
  throw new RegistrationError(
    `A class without a name has a marked method "${method}". Give the class a name.`,
  );
}

function isClass(value: unknown): value is Type {
  return typeof value === 'function' && value.prototype !== undefined;
}
