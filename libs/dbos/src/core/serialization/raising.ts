/** Turns what superjson has read back into the value that was lowered; the mirror of `lowering.ts`. */
import type { CustomType } from './custom-type.js';
import { damaged } from './damage.js';
import { type ErrorField, fillError } from './error-parts.js';
import { raiseLeaf } from './leaf-codecs.js';
import { MAX_DEPTH } from './limits.js';
import { CUSTOM_PREFIX, DICTIONARY, ERROR, OBJECT, REFERENCE, Tagged } from './tagged.js';

/**
 * The value that `tree` stands for. The tree is used up: its containers become those of the value.
 * @throws when the tree is none that lowering makes, as after a change by hand
 */
export function raise(tree: unknown, types: ReadonlyMap<string, CustomType>): unknown {
  return new Raising(types, 0).raise(tree);
}

class Raising {
  /** The objects of the value in the order in which lowering numbered them. */
  private readonly objects: (object | undefined)[] = [];

  constructor(
    private readonly types: ReadonlyMap<string, CustomType>,
    private depth: number,
  ) {}

  raise(node: unknown): unknown {
    if (typeof node !== 'object' || node === null) return node;
    // Deeper than anything lowering makes; where the stack ends is not for stored text to find out.
    if (this.depth > MAX_DEPTH) throw damaged('it is nested too deeply');
    this.depth += 1;
    const raised = node instanceof Tagged ? this.raiseTagged(node) : this.raiseContainer(node);
    this.depth -= 1;
    return raised;
  }

  /** Raises the parts in place: most of them are what they should be. */
  private raiseContainer(container: object): object {
    this.objects.push(container);
    if (Array.isArray(container)) this.raiseItems(container);
    else if (container instanceof Map) this.raiseMap(container);
    else if (container instanceof Set) this.raiseSet(container);
    else if (!(container instanceof Date || container instanceof URL)) this.raiseObject(container);
    return container;
  }

  private raiseItems(array: unknown[]): void {
    for (let index = 0; index < array.length; index += 1) array[index] = this.raise(array[index]);
  }

  private raiseObject(object: object): void {
    // Edited text can make superjson assign to the `__proto__` of a tagged value.
    if (Object.getPrototypeOf(object) !== Object.prototype)
      throw damaged('it holds a strange object');
    const properties = object as Record<string, unknown>;
    // Only objects are raised to something else. Assigning keeps own `__proto__` keys of edited rows what they are.
    for (const key of Object.keys(object)) {
      const part = properties[key];
      if (typeof part === 'object' && part !== null) properties[key] = this.raise(part);
    }
  }

  private raiseMap(map: Map<unknown, unknown>): void {
    const entries = Array.from(
      map,
      ([key, value]) => [this.raise(key), this.raise(value)] as const,
    );
    map.clear();
    for (const [key, value] of entries) map.set(key, value);
  }

  private raiseSet(set: Set<unknown>): void {
    const items = Array.from(set, (item) => this.raise(item));
    set.clear();
    for (const item of items) set.add(item);
  }

  private raiseTagged(tagged: Tagged): object {
    if (tagged.type === REFERENCE) return this.referenced(tagged.data);
    // The number is taken before the parts take theirs, and given its object as soon as there is one.
    const number = this.objects.push(undefined) - 1;
    const object = this.emptyObject(tagged.type);
    if (object === undefined) return (this.objects[number] = this.raiseWhole(tagged));
    this.objects[number] = object;
    return object instanceof Error
      ? this.raiseError(object, tagged.data as Record<string, unknown>)
      : this.raiseEntries(object, tagged.data as Iterable<[string, unknown]>);
  }

  /** The object for tags whose parts may refer back to it. */
  private emptyObject(type: string): object | undefined {
    switch (type) {
      case OBJECT:
        return {};
      case DICTIONARY:
        return Object.create(null) as object;
      case ERROR:
        return new Error();
      default:
        return undefined;
    }
  }

  private raiseWhole(tagged: Tagged): object {
    const object = tagged.type.startsWith(CUSTOM_PREFIX)
      ? this.raiseCustom(tagged)
      : raiseLeaf(tagged);
    if (object === undefined) throw damaged(`it holds a "${tagged.type}", which is unknown here`);
    return object;
  }

  private raiseCustom({ type, data }: Tagged): object {
    const name = type.slice(CUSTOM_PREFIX.length);
    const custom = this.types.get(name);
    if (!custom) {
      throw damaged(`it holds a value of the type "${name}", which is not registered here`);
    }
    const raised = new Raising(this.types, this.depth).raise(data);
    try {
      return custom.deserialize(raised);
    } catch (error) {
      throw damaged(`the registered type "${name}" could not read its data`, { cause: error });
    }
  }

  private raiseEntries(object: object, entries: Iterable<[string, unknown]>): object {
    for (const [key, part] of entries) {
      // Defined, not assigned: assigning to `__proto__` would change the prototype.
      Object.defineProperty(object, key, {
        value: this.raise(part),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return object;
  }

  private raiseError(error: Error, data: Record<string, unknown>): Error {
    const { name, message, stack } = data;
    return fillError(error, {
      name: String(name),
      message: String(message),
      ...(typeof stack === 'string' && { stack }),
      ...('cause' in data && { cause: this.raise(data['cause']) }),
      ...('errors' in data && { errors: this.raise(data['errors']) as readonly unknown[] }),
      fields: Array.from(
        data['fields'] as Iterable<ErrorField>,
        ([key, field]) => [key, this.raise(field)] as const,
      ),
    });
  }

  private referenced(number: unknown): object {
    const object = typeof number === 'number' ? this.objects[number] : undefined;
    if (object === undefined) throw damaged('it refers to a part that does not exist');
    return object;
  }
}
