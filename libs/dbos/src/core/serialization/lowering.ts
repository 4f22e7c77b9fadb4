/**
 * Turns a value into a tree that superjson keeps exactly, or refuses it with the path of what cannot be kept.
 *
 * superjson by itself drops functions, turns instances into plain objects, fills holes, and loses track of objects
 * that occur twice inside a Map, a Set or an Error. So every object is looked at here first: what superjson is exact
 * about is passed on, everything else is replaced by a `Tagged`, and `raising.ts` goes the same way back.
 */
import type { AnyCustomType } from './custom-type.js';
import { readErrorParts } from './error-parts.js';
import { lowerArrayBuffer, lowerBuffer, lowerInvalidDate, lowerRegExp, lowerTypedArray } from './leaf-codecs.js';
import { MAX_DEPTH } from './limits.js';
import { refusalOfInstance } from './refusal.js';
import { UnserializableValueError } from './serialization-error.js';
import { CUSTOM_PREFIX, DICTIONARY, ERROR, OBJECT, REFERENCE, Tagged } from './tagged.js';
import { kindOf, type ValueKind } from './value-kind.js';
import { mapValueSegment, type PathSegment, ValuePath } from './value-path.js';

export interface LoweringOptions {
  /** What messages call the value itself. */
  readonly root: string;
  readonly types: ReadonlyMap<string, AnyCustomType>;
  /** Levels of nesting in the result. */
  readonly maxDepth?: number;
}

/**
 * The tree for superjson. It shares nothing with `value` that can change.
 * @throws UnserializableValueError naming the path of the first thing that cannot be kept
 */
export function lower(value: unknown, { root, types, maxDepth = MAX_DEPTH }: LoweringOptions): unknown {
  const path = new ValuePath(root);
  try {
    return new Lowering(path, types, maxDepth).lower(value);
  } catch (error) {
    if (error instanceof UnserializableValueError) throw error;
    // Only code of the value itself can throw here: a trap of a proxy, an `isType`, a detached buffer.
    throw new UnserializableValueError(path.toString(), 'reading it failed', { cause: error });
  }
}

/** Keys that superjson refuses, because assigning them is how prototypes get polluted. */
const RESERVED_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** How many levels of the stored form lie between a value and its part. */
const LEVELS = { item: 1, entry: 2, taggedEntry: 3 } as const;

class Lowering {
  /** Every object met so far, numbered in order; the same numbers come up when the tree is raised. */
  private readonly numbers = new Map<object, number>();
  private depth = 0;

  constructor(
    private readonly path: ValuePath,
    private readonly types: ReadonlyMap<string, AnyCustomType>,
    private readonly maxDepth: number,
  ) {}

  lower(value: unknown): unknown {
    switch (typeof value) {
      case 'function':
        return this.refuse('functions are code, not data');
      case 'symbol':
        return this.refuse('a symbol means nothing outside of its process');
      case 'object':
        return value === null ? null : this.lowerObject(value);
      default:
        return value;
    }
  }

  private lowerObject(object: object): unknown {
    const number = this.numbers.get(object);
    if (number !== undefined) return new Tagged(REFERENCE, number);
    this.numbers.set(object, this.numbers.size);
    const kind = kindOf(object);
    return this.lowerCustom(object, kind) ?? this.lowerKind(object, kind);
  }

  private lowerKind(object: object, kind: ValueKind): unknown {
    switch (kind) {
      case 'object':
        return this.lowerPlainObject(object);
      case 'dictionary':
        return new Tagged(DICTIONARY, this.lowerEntries(this.entriesOf(object)));
      case 'array':
        return this.lowerArray(object as unknown[]);
      case 'map':
        return this.lowerMap(this.bare(object) as Map<unknown, unknown>);
      case 'set':
        return this.lowerSet(this.bare(object) as Set<unknown>);
      case 'date':
        return lowerDate(this.bare(object) as Date);
      case 'regexp':
        return lowerRegExp(this.bare(object, 'lastIndex') as RegExp);
      case 'url':
        return this.lowerUrl(this.bare(object) as URL);
      case 'buffer':
        return lowerBuffer(object as Buffer);
      case 'typed-array':
        return lowerTypedArray(object as NodeJS.TypedArray);
      case 'array-buffer':
        return lowerArrayBuffer(this.bare(object) as ArrayBuffer);
      case 'error':
        return this.lowerError(object as Error);
      case 'instance':
        return this.refuse(refusalOfInstance(object));
    }
  }

  private lowerPlainObject(object: object): unknown {
    const entries = this.entriesOf(object);
    if (entries.some(([key]) => RESERVED_KEYS.has(key))) return new Tagged(OBJECT, this.lowerEntries(entries));
    const lowered: Record<string, unknown> = {};
    for (const [key, value] of entries) lowered[key] = this.lowerPart(key, value, LEVELS.item);
    return lowered;
  }

  private lowerEntries(entries: readonly (readonly [string, unknown])[]): unknown[] {
    return entries.map(([key, value]) => [key, this.lowerPart(key, value, LEVELS.taggedEntry)]);
  }

  private lowerArray(array: readonly unknown[]): unknown[] {
    this.refuseSymbols(array);
    const extra = Object.getOwnPropertyNames(array).find((key) => key !== 'length' && !isIndex(key));
    if (extra !== undefined) this.refuse(`the array has a property "${extra}" besides its items`);
    return Array.from(array, (_, index) => this.lowerItem(array, index));
  }

  private lowerItem(array: readonly unknown[], index: number): unknown {
    const property = Object.getOwnPropertyDescriptor(array, index);
    return this.within(index, LEVELS.item, () =>
      property === undefined
        ? this.refuse('the array has a hole here; write undefined or null instead')
        : this.lower(this.valueOf(property)),
    );
  }

  private lowerMap(map: ReadonlyMap<unknown, unknown>): Map<unknown, unknown> {
    const entries = Array.from(map, ([key, value], index) => [
      this.lowerPart({ access: `.keys()[${index}]` }, key, LEVELS.entry),
      this.lowerPart(mapValueSegment(key, index), value, LEVELS.entry),
    ]);
    return new Map(entries as [unknown, unknown][]);
  }

  private lowerSet(set: ReadonlySet<unknown>): Set<unknown> {
    return new Set(Array.from(set, (item, index) => this.lowerPart({ access: `.values()[${index}]` }, item, LEVELS.item)));
  }

  private lowerUrl(url: URL): URL {
    const copy = new URL(url.href);
    return copy.href === url.href ? copy : this.refuse('this URL changes when it is parsed again');
  }

  private lowerError(error: Error): Tagged {
    const { fields, ...parts } = readErrorParts(error);
    return new Tagged(ERROR, {
      ...parts,
      ...('cause' in parts && { cause: this.lowerPart('cause', parts.cause, LEVELS.entry) }),
      ...(parts.errors && { errors: this.lowerPart('errors', parts.errors, LEVELS.entry) }),
      fields: fields.map(([key, property]) => [
        key,
        this.within(key, LEVELS.taggedEntry + 1, () => this.lower(this.valueOf(property))),
      ]),
    });
  }

  /** What the type of the application makes of `object`; nothing when it is of no registered type. */
  private lowerCustom(object: object, kind: ValueKind): Tagged | undefined {
    if (kind === 'object' || kind === 'array') return undefined;
    for (const type of this.types.values()) {
      if (type.isType(object)) return new Tagged(CUSTOM_PREFIX + type.name, this.lowerCustomData(type, object));
    }
    return undefined;
  }

  /** In a scope of its own: references across its border could not be followed inside of `deserialize`. */
  private lowerCustomData(type: AnyCustomType, object: object): unknown {
    if (this.depth >= this.maxDepth) this.refuseDepth();
    const inner = new Lowering(this.path, this.types, this.maxDepth);
    inner.depth = this.depth + 1;
    return inner.lower(type.serialize(object));
  }

  private lowerPart(segment: PathSegment, part: unknown, levels: number): unknown {
    return this.within(segment, levels, () => this.lower(part));
  }

  /** One step down the path. It is not taken back after a refusal: the message needs it. */
  private within<R>(segment: PathSegment, levels: number, lowerPart: () => R): R {
    this.path.enter(segment);
    this.depth += levels;
    if (this.depth > this.maxDepth) this.refuseDepth();
    const lowered = lowerPart();
    this.depth -= levels;
    this.path.leave();
    return lowered;
  }

  /** The properties of an object, none of which a copy would lose or change. */
  private entriesOf(object: object): (readonly [string, unknown])[] {
    this.refuseSymbols(object);
    return Object.getOwnPropertyNames(object).map((key) => {
      const property = Object.getOwnPropertyDescriptor(object, key) ?? {};
      if (!property.enumerable) this.within(key, 0, () => this.refuse('the property is not enumerable'));
      return [key, isAccessor(property) ? this.within(key, 0, () => this.valueOf(property)) : property.value] as const;
    });
  }

  /** `object`, when it has no properties of its own beside `allowed`: they would be lost. */
  private bare(object: object, allowed?: string): object {
    const extra = Reflect.ownKeys(object).find((key) => key !== allowed);
    if (extra !== undefined) this.refuse(`it has a property ${String(extra)}, which would be lost`);
    return object;
  }

  private valueOf(property: PropertyDescriptor): unknown {
    return isAccessor(property)
      ? this.refuse('it is computed by a getter; pass its value instead')
      : (property.value as unknown);
  }

  private refuseSymbols(object: object): void {
    const [symbol] = Object.getOwnPropertySymbols(object);
    if (symbol !== undefined) this.refuse(`it has a property whose key is ${String(symbol)}`);
  }

  private refuseDepth(): never {
    return this.refuse(`it is nested deeper than ${this.maxDepth} levels`);
  }

  private refuse(reason: string): never {
    throw new UnserializableValueError(this.path.toString(), reason);
  }
}

function lowerDate(date: Date): Date | Tagged {
  const time = date.getTime();
  return Number.isNaN(time) ? lowerInvalidDate() : new Date(time);
}

function isAccessor(property: PropertyDescriptor): boolean {
  return property.get !== undefined || property.set !== undefined;
}

function isIndex(key: string): boolean {
  return String(Number(key) >>> 0) === key;
}
