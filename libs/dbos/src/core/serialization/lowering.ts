/**
 * Turns a value into a tree that superjson keeps exactly, or refuses it with the path of what cannot be kept.
 *
 * superjson by itself drops functions, turns instances into plain objects, fills holes, and loses track of objects
 * that occur twice inside a Map, a Set or an Error. So every object is looked at here first: what superjson is exact
 * about is passed on, everything else is replaced by a `Tagged`, and `raising.ts` goes the same way back.
 */
import type { CustomType } from './custom-type.js';
import { readErrorParts } from './error-parts.js';
import { Guard, type NamedProperty } from './guard.js';
import {
  lowerArrayBuffer,
  lowerBuffer,
  lowerInvalidDate,
  lowerRegExp,
  lowerTypedArray,
} from './leaf-codecs.js';
import { MAX_DEPTH } from './limits.js';
import { refusalOfInstance } from './refusal.js';
import { UnserializableValueError } from './serialization-error.js';
import { isStackOverflow } from './stack-overflow.js';
import { CUSTOM_PREFIX, DICTIONARY, ERROR, OBJECT, REFERENCE, Tagged } from './tagged.js';
import { kindOf, type ValueKind } from './value-kind.js';
import { mapValueSegment, type PathSegment, ValuePath } from './value-path.js';

/**
 * The tree for superjson. It shares nothing with `value` that can change.
 * @param root what messages call the value itself
 * @throws UnserializableValueError naming the path of the first thing that cannot be kept
 */
export function lower(
  value: unknown,
  root: string,
  types: ReadonlyMap<string, CustomType>,
): unknown {
  const path = new ValuePath(root);
  try {
    return new Lowering(path, types).lower(value);
  } catch (error) {
    if (error instanceof UnserializableValueError || isStackOverflow(error)) throw error;
    // Only code of the value itself can throw here: a trap of a proxy, an `isType`, a detached buffer.
    throw new UnserializableValueError(path.toString(), 'reading it failed', { cause: error });
  }
}

/** Keys that superjson refuses, because assigning them is how prototypes get polluted. */
const RESERVED_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** How many levels of the stored form lie between a value and its part. */
const LEVELS = { item: 1, entry: 2, taggedEntry: 3, errorField: 4 } as const;

class Lowering {
  /** Every object met so far, numbered in order; the same numbers come up when the tree is raised. */
  private readonly numbers = new Map<object, number>();
  private depth = 0;
  private readonly guard: Guard;

  constructor(
    private readonly path: ValuePath,
    private readonly types: ReadonlyMap<string, CustomType>,
  ) {
    this.guard = new Guard(path);
  }

  lower(value: unknown): unknown {
    switch (typeof value) {
      case 'function':
        return this.guard.refuse('functions are code, not data');
      case 'symbol':
        return this.guard.refuse('a symbol means nothing outside of its process');
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
        return new Tagged(
          DICTIONARY,
          this.lowerEntries(this.guard.propertiesOf(object), LEVELS.taggedEntry),
        );
      case 'array':
        return this.lowerArray(object as unknown[]);
      case 'map':
        return this.lowerMap(this.guard.bare(object) as Map<unknown, unknown>);
      case 'set':
        return this.lowerSet(this.guard.bare(object) as Set<unknown>);
      case 'date':
        return lowerDate(this.guard.bare(object) as Date);
      case 'regexp':
        return lowerRegExp(this.guard.bare(object, 'lastIndex') as RegExp);
      case 'url':
        return new URL((this.guard.bare(object) as URL).href);
      case 'buffer':
        return lowerBuffer(object as Buffer);
      case 'typed-array':
        return lowerTypedArray(object as NodeJS.TypedArray);
      case 'array-buffer':
        return lowerArrayBuffer(this.guard.bare(object) as ArrayBuffer);
      case 'error':
        return this.lowerError(object as Error);
      case 'instance':
        return this.guard.refuse(refusalOfInstance(object));
      default:
        return kind satisfies never;
    }
  }

  private lowerPlainObject(object: object): unknown {
    const properties = this.guard.propertiesOf(object);
    if (properties.some(([key]) => RESERVED_KEYS.has(key))) {
      return new Tagged(OBJECT, this.lowerEntries(properties, LEVELS.taggedEntry));
    }
    const lowered: Record<string, unknown> = {};
    for (const [key, property] of properties) {
      lowered[key] = this.lowerProperty(key, property, LEVELS.item);
    }
    return lowered;
  }

  private lowerEntries(properties: readonly NamedProperty[], levels: number): unknown[] {
    const entries: unknown[] = [];
    for (const [key, property] of properties) {
      entries.push([key, this.lowerProperty(key, property, levels)]);
    }
    return entries;
  }

  private lowerArray(array: readonly unknown[]): unknown[] {
    this.guard.requireItemsOnly(array);
    const lowered: unknown[] = [];
    for (let index = 0; index < array.length; index += 1) {
      const property = Object.getOwnPropertyDescriptor(array, index);
      if (property === undefined) {
        this.guard.refuseAt(index, 'the array has a hole here; write undefined or null instead');
      }
      lowered.push(this.lowerProperty(index, property, LEVELS.item));
    }
    return lowered;
  }

  private lowerMap(map: ReadonlyMap<unknown, unknown>): Map<unknown, unknown> {
    const lowered = new Map<unknown, unknown>();
    for (const [key, value] of map) {
      const index = lowered.size;
      const loweredKey = this.lowerPart({ access: `.keys()[${index}]` }, key, LEVELS.entry);
      lowered.set(loweredKey, this.lowerPart(mapValueSegment(key, index), value, LEVELS.entry));
    }
    return lowered;
  }

  private lowerSet(set: ReadonlySet<unknown>): Set<unknown> {
    const lowered = new Set<unknown>();
    for (const item of set) {
      lowered.add(this.lowerPart({ access: `.values()[${lowered.size}]` }, item, LEVELS.item));
    }
    return lowered;
  }

  private lowerError(error: Error): Tagged {
    const { fields, ...parts } = readErrorParts(error);
    return new Tagged(ERROR, {
      ...parts,
      ...('cause' in parts && { cause: this.lowerPart('cause', parts.cause, LEVELS.entry) }),
      ...(parts.errors && { errors: this.lowerPart('errors', parts.errors, LEVELS.entry) }),
      fields: this.lowerEntries(fields, LEVELS.errorField),
    });
  }

  /** What the type of the application makes of `object`; nothing when it is of no registered type. */
  private lowerCustom(object: object, kind: ValueKind): Tagged | undefined {
    if (kind === 'object' || kind === 'array') return undefined;
    for (const type of this.types.values()) {
      if (type.isType(object)) {
        return new Tagged(CUSTOM_PREFIX + type.name, this.lowerCustomData(type, object));
      }
    }
    return undefined;
  }

  /** In a scope of its own: references across its border could not be followed inside of `deserialize`. */
  private lowerCustomData(type: CustomType, object: object): unknown {
    if (this.depth >= MAX_DEPTH) this.refuseDepth();
    const inner = new Lowering(this.path, this.types);
    inner.depth = this.depth + 1;
    return inner.lower(type.serialize(object));
  }

  private lowerProperty(
    key: string | number,
    property: PropertyDescriptor,
    levels: number,
  ): unknown {
    if (property.get || property.set) {
      this.guard.refuseAt(key, 'it is computed by a getter; pass its value instead');
    }
    return this.lowerPart(key, property.value, levels);
  }

  /** One step down the path. It is not taken back after a refusal: the message needs it. */
  private lowerPart(segment: PathSegment, part: unknown, levels: number): unknown {
    this.path.enter(segment);
    this.depth += levels;
    if (this.depth > MAX_DEPTH) this.refuseDepth();
    const lowered = this.lower(part);
    this.depth -= levels;
    this.path.leave();
    return lowered;
  }

  private refuseDepth(): never {
    return this.guard.refuse(`it is nested deeper than ${MAX_DEPTH} levels`);
  }
}

function lowerDate(date: Date): Date | Tagged {
  const time = date.getTime();
  return Number.isNaN(time) ? lowerInvalidDate() : new Date(time);
}
