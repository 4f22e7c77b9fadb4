/** Refuses objects of which a copy would lose something: what they are is fine, what they carry is not. */
import { UnserializableValueError } from './serialization-error.js';
import type { PathSegment, ValuePath } from './value-path.js';

export type NamedProperty = readonly [key: string, property: PropertyDescriptor];

/** Looks at objects without running their code; every refusal names the path at which the walk is. */
export class Guard {
  constructor(private readonly path: ValuePath) {}

  /** The properties of an object, when they are all that it has. */
  propertiesOf(object: object): readonly NamedProperty[] {
    this.refuseSymbols(object);
    return Object.getOwnPropertyNames(object).map((key) => {
      const property = Object.getOwnPropertyDescriptor(object, key) ?? {};
      return property.enumerable ? [key, property] : this.refuseAt(key, 'it is not enumerable');
    });
  }

  /** Arrays may have properties besides their items, as the results of regular expressions do. */
  requireItemsOnly(array: readonly unknown[]): void {
    this.refuseSymbols(array);
    const extra = Object.getOwnPropertyNames(array).find(
      (key) => key !== 'length' && !isIndex(key),
    );
    if (extra !== undefined) this.refuse(`the array has a property "${extra}" besides its items`);
  }

  /** `object`, when it has no property of its own but `allowed`. */
  bare(object: object, allowed?: string): object {
    const extra = Reflect.ownKeys(object).find((key) => key !== allowed);
    if (extra !== undefined) this.refuse(`it has a property ${String(extra)}, which would be lost`);
    return object;
  }

  refuseAt(segment: PathSegment, reason: string): never {
    this.path.enter(segment);
    return this.refuse(reason);
  }

  refuse(reason: string): never {
    throw new UnserializableValueError(this.path.toString(), reason);
  }

  private refuseSymbols(object: object): void {
    const [symbol] = Object.getOwnPropertySymbols(object);
    if (symbol !== undefined) this.refuse(`it has a property whose key is ${String(symbol)}`);
  }
}

function isIndex(key: string): boolean {
  return String(Number(key) >>> 0) === key;
}
