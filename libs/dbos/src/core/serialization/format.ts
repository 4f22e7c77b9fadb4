/** What a serializer is, and what a stored value is. */

/** Format of values that are JSON data already. */
export const PLAIN_JSON_FORMAT = 'json';

/** Format of values that JSON alone would change. */
export const SUPERJSON_FORMAT = 'superjson';

/** A value as it is stored. */
export interface EncodedValue {
  readonly text: string;
  /** Name of the serializer that wrote it. */
  readonly format: string;
}

/** Turns values into text and back. Its name is stored on every row, so that rows outlive a change of serializer. */
export interface Serializer {
  readonly name: string;
  /**
   * Whether values that are JSON data already may be stored as JSON, past this serializer. They may not unless it
   * says so: one that encrypts must see everything.
   */
  readonly acceptsPlainJson?: boolean;
  /**
   * Text of which `deserialize` makes an equal value.
   * @param root what messages should call the value
   * @throws when the value would not come back the same
   */
  serialize(value: unknown, root?: string): string;
  /** @throws when the text is none of this serializer */
  deserialize(text: string): unknown;
}
