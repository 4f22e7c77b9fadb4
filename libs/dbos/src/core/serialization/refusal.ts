/** Why an instance is refused and what to do about it, in words for whoever reads the error. */
import { types } from 'node:util';
import { classNameOf } from './value-kind.js';

/** The reason for which `object`, an instance of no known class, cannot be stored. Runs no code of the object. */
export function refusalOfInstance(object: object): string {
  const className = classNameOf(object);
  if (types.isProxy(object)) return 'it is a Proxy; pass a plain copy of what is behind it';
  if (types.isPromise(object)) return 'it is a Promise; await it first';
  if (types.isBoxedPrimitive(object))
    return `it is a ${className} object; pass the primitive value`;
  if (hasToJson(object)) {
    return (
      `it is an instance of ${className}, and its toJSON() is a way out but none back; ` +
      'convert it, or register the class: createSuperjsonSerializer({ types: [{ name, isType, serialize, deserialize }] })'
    );
  }
  return (
    `it is an instance of ${className}, which would come back without its class; pass a plain object ` +
    '({ ...value }), or register the class: createSuperjsonSerializer({ types: [{ name, isType, serialize, deserialize }] })'
  );
}

/** Whether the class of `object` offers JSON; looked up without running a getter. */
function hasToJson(object: object): boolean {
  for (
    let at: object | null = object;
    at !== null;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    if (types.isProxy(at)) return false;
    if (Object.hasOwn(at, 'toJSON')) return true;
  }
  return false;
}
