/** Where in a value a walk is, for messages: `order.lines[3].product`. */

/** One step down: a property, an index, or how else one gets there, such as `.get("EUR")`. */
export type PathSegment = string | number | { readonly access: string };

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/** Longest part of a message that quotes a key. */
const MAX_KEY_LENGTH = 100;

/** The path from the root of a value to the place a walk has reached; text is made only when asked for. */
export class ValuePath {
  private readonly segments: PathSegment[] = [];

  constructor(private readonly root: string) {}

  enter(segment: PathSegment): void {
    this.segments.push(segment);
  }

  leave(): void {
    this.segments.pop();
  }

  toString(): string {
    return this.root + abridged(this.segments.map(segmentText)).join('');
  }
}

/** How to write the access to entry `index` of a Map, its key being `key`. */
export function mapValueSegment(key: unknown, index: number): PathSegment {
  const readable = typeof key === 'string' || typeof key === 'number';
  return { access: readable ? `.get(${quoted(key)})` : `.values()[${index}]` };
}

function segmentText(segment: PathSegment): string {
  if (typeof segment === 'number') return `[${segment}]`;
  if (typeof segment === 'object') return segment.access;
  return IDENTIFIER.test(segment) ? `.${segment}` : `[${quoted(segment)}]`;
}

function quoted(key: string | number): string {
  if (typeof key === 'number') return String(key);
  return JSON.stringify(key.length > MAX_KEY_LENGTH ? `${key.slice(0, MAX_KEY_LENGTH)}…` : key);
}

/** The two ends of a path say where it is; nobody reads a thousand levels between them. */
function abridged(texts: readonly string[]): readonly string[] {
  return texts.length <= 20 ? texts : [...texts.slice(0, 10), ' … ', ...texts.slice(-10)];
}
