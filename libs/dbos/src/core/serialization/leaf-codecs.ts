/** Objects without parts that can be values themselves: how each becomes JSON data under a tag, and back. */
import { Tagged } from './tagged.js';
import { typedArrayName } from './value-kind.js';

/** A typed array of any element type. */
type TypedArrayConstructor = new (buffer: ArrayBuffer) => object;

/** By name, because newer platforms have more of them (Float16Array). Only these are ever made from stored names. */
const TYPED_ARRAYS: ReadonlyMap<string, TypedArrayConstructor> = new Map(
  [
    'Int8Array',
    'Uint8Array',
    'Uint8ClampedArray',
    'Int16Array',
    'Uint16Array',
    'Int32Array',
    'Uint32Array',
    'Float16Array',
    'Float32Array',
    'Float64Array',
    'BigInt64Array',
    'BigUint64Array',
  ]
    .map(
      (name) =>
        [name, (globalThis as Record<string, unknown>)[name] as TypedArrayConstructor] as const,
    )
    .filter(([, constructor]) => constructor !== undefined),
);

/** `new Date(NaN)`; superjson takes care of all other dates. */
export function lowerInvalidDate(): Tagged {
  return new Tagged('Date', null);
}

/** With `lastIndex`, which superjson would lose: a global expression in use goes on where it was. */
export function lowerRegExp({ source, flags, lastIndex }: RegExp): Tagged {
  return new Tagged('RegExp', [source, flags, lastIndex]);
}

/** Base64 and not a list of numbers, which is what superjson would write: a quarter of the size, and exact for NaN. */
export function lowerBuffer(buffer: Buffer): Tagged {
  return new Tagged('Buffer', buffer.toString('base64'));
}

/** The bytes in view, in the byte order of the machine (little-endian on every platform Node.js supports but s390x). */
export function lowerTypedArray(view: NodeJS.TypedArray): Tagged {
  return new Tagged(typedArrayName(view), base64(view.buffer, view.byteOffset, view.byteLength));
}

export function lowerArrayBuffer(buffer: ArrayBuffer): Tagged {
  return new Tagged('ArrayBuffer', base64(buffer, 0, buffer.byteLength));
}

/**
 * The value under a leaf tag; `undefined` when the tag is none of a leaf.
 * @throws when the data does not fit the tag
 */
export function raiseLeaf({ type, data }: Tagged): object | undefined {
  switch (type) {
    case 'Date':
      return new Date(Number.NaN);
    case 'RegExp':
      return raiseRegExp(data);
    case 'Buffer':
      return Buffer.from(text(data), 'base64');
    case 'ArrayBuffer':
      return bytesOf(data);
    default: {
      const TypedArray = TYPED_ARRAYS.get(type);
      return TypedArray && new TypedArray(bytesOf(data));
    }
  }
}

function raiseRegExp(data: unknown): RegExp {
  const [source, flags, lastIndex] = data as [unknown, unknown, unknown];
  const expression = new RegExp(text(source), text(flags));
  expression.lastIndex = Number(lastIndex);
  return expression;
}

function text(data: unknown): string {
  if (typeof data !== 'string') throw new TypeError('text was expected');
  return data;
}

function base64(buffer: ArrayBufferLike, offset: number, length: number): string {
  return Buffer.from(buffer, offset, length).toString('base64');
}

/** In a buffer of their own: Node.js cuts small Buffers from a shared pool. */
function bytesOf(data: unknown): ArrayBuffer {
  const bytes = Buffer.from(text(data), 'base64');
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}
