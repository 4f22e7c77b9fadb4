/**
 * What kind of object a value is, as far as storing it is concerned.
 *
 * Kinds are told by internal slots (`node:util` types), never by `instanceof`: a test runner or a worker hands over
 * objects whose classes come from another realm, and `Object.create(Map.prototype)` is no Map.
 */
import { types } from 'node:util';

/** Objects that can be stored, and `instance` for all others. */
export type ValueKind =
  | 'object'
  | 'dictionary'
  | 'array'
  | 'map'
  | 'set'
  | 'date'
  | 'regexp'
  | 'url'
  | 'buffer'
  | 'typed-array'
  | 'array-buffer'
  | 'error'
  | 'instance';

/** The kind of `value`. An object of a class of its own is an `instance` whatever it extends, unless it is an error. */
export function kindOf(value: object): ValueKind {
  if (types.isProxy(value)) return 'instance';
  if (isError(value)) return 'error';
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null) return 'dictionary';
  if (Buffer.isBuffer(value)) return prototype === Buffer.prototype ? 'buffer' : 'instance';
  const [kind, className] = builtin(value);
  return isBuiltinPrototype(prototype, className) ? kind : 'instance';
}

/** Whether `value` is an error of any class and any realm, a DOMException included. Never throws. */
export function isError(value: unknown): value is Error {
  if (types.isNativeError(value)) return true;
  try {
    return (
      value instanceof Error || Object.prototype.toString.call(value) === '[object DOMException]'
    );
  } catch {
    return false; // A proxy that refuses to answer.
  }
}

/** Name of the class of `value`, for messages. Runs no code of the value. */
export function classNameOf(value: object): string {
  if (types.isProxy(value)) return 'Proxy';
  for (
    let at = Object.getPrototypeOf(value) as object | null;
    at !== null;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    const name = ownClassName(at);
    if (name) return name;
  }
  return 'Object';
}

/** Name of the typed array's class, such as `Float64Array`. */
export function typedArrayName(view: NodeJS.ArrayBufferView): string {
  return Reflect.get(TypedArrayPrototype, Symbol.toStringTag, view) as string;
}

const TypedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

function builtin(value: object): readonly [ValueKind, string] {
  if (Array.isArray(value)) return ['array', 'Array'];
  if (types.isMap(value)) return ['map', 'Map'];
  if (types.isSet(value)) return ['set', 'Set'];
  if (types.isDate(value)) return ['date', 'Date'];
  if (types.isRegExp(value)) return ['regexp', 'RegExp'];
  if (types.isTypedArray(value)) return ['typed-array', typedArrayName(value)];
  if (types.isArrayBuffer(value)) return ['array-buffer', 'ArrayBuffer'];
  if (value instanceof URL) return ['url', 'URL'];
  return ['object', 'Object'];
}

/** Whether `prototype` is that of the built-in class of this name, of this realm or another one. */
function isBuiltinPrototype(prototype: object, className: string): boolean {
  if (prototype === Object.prototype) return className === 'Object';
  const constructor = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown;
  if (typeof constructor !== 'function' || constructor.prototype !== prototype) return false;
  if (constructor === (globalThis as Record<string, unknown>)[className]) return true;
  // No function written in JavaScript can make its source text look like this.
  return (
    Function.prototype.toString.call(constructor) === `function ${className}() { [native code] }`
  );
}

function ownClassName(prototype: object): string | undefined {
  const constructor = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown;
  if (typeof constructor !== 'function') return undefined;
  const name = Object.getOwnPropertyDescriptor(constructor, 'name')?.value as unknown;
  return typeof name === 'string' ? name : undefined;
}
