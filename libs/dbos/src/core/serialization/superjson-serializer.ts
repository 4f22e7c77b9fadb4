/** The default serializer: superjson, made exact for every value it accepts. */
import { SuperJSON } from 'superjson';
import { customTypesByName, type CustomTypes } from './custom-type.js';
import { lower } from './lowering.js';
import { raise } from './raising.js';
import type { Serializer } from './serializer.js';
import { checkedEnvelope, TAGGED_CLASS } from './superjson-envelope.js';
import { Tagged } from './tagged.js';

/** Format of values that JSON alone would change. */
export const SUPERJSON_FORMAT = 'superjson';

export interface SuperjsonSerializerOptions {
  /** Types of the application that are to come back as themselves. */
  readonly types?: CustomTypes;
}

/**
 * The serializer that is used unless another one is configured. Plain JSON data is stored as JSON; what JSON would
 * change (undefined, Dates, Maps, Sets, BigInt, binary data, errors, cycles, …) as superjson, readable in SQL under
 * its key `json`. What neither keeps is refused with its path in the value.
 *
 * @example
 * createSuperjsonSerializer({
 *   types: [{
 *     name: 'Decimal',
 *     isType: (value) => Decimal.isDecimal(value),
 *     serialize: (value: Decimal) => value.toString(),
 *     deserialize: (text: string) => new Decimal(text),
 *   }],
 * });
 */
export function createSuperjsonSerializer(options: SuperjsonSerializerOptions = {}): Serializer {
  const types = customTypesByName(options.types ?? []);
  const superjson = new SuperJSON();
  superjson.registerClass(Tagged, { identifier: TAGGED_CLASS });
  return {
    name: SUPERJSON_FORMAT,
    acceptsPlainJson: true,
    serialize(value, root = 'value') {
      // Without superjson's list of equal objects: lowering has left none, and equal BigInts are no such thing.
      const { json, meta } = superjson.serialize(lower(value, { root, types }));
      return JSON.stringify({ json, ...(meta?.values && { meta: { values: meta.values, v: 1 } }) });
    },
    deserialize(text) {
      const { json, meta } = checkedEnvelope(JSON.parse(text));
      return raise(superjson.deserialize({ json, meta } as Parameters<SuperJSON['deserialize']>[0], { inPlace: true }), types);
    },
  };
}
