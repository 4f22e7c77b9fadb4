/** The default serializer: superjson, made exact for every value it accepts. */
import { SuperJSON, type SuperJSONResult } from 'superjson';
import { type CustomType, customTypesByName } from './custom-type.js';
import { damaged } from './damage.js';
import { SUPERJSON_FORMAT, type Serializer } from './format.js';
import { lower } from './lowering.js';
import { raise } from './raising.js';
import { UndecodableValueError } from './serialization-error.js';
import { checkedEnvelope, TAGGED_CLASS } from './superjson-envelope.js';
import { Tagged } from './tagged.js';

export interface SuperjsonSerializerOptions {
  /** Types of the application that are to come back as themselves. */
  readonly types?: readonly CustomType[];
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
      const { json, meta } = superjson.serialize(lower(value, root, types));
      return JSON.stringify({ json, ...(meta?.values && { meta: { values: meta.values, v: 1 } }) });
    },
    deserialize(text) {
      try {
        const { json, meta } = checkedEnvelope(JSON.parse(text));
        const tree: unknown = superjson.deserialize({ json, meta } as SuperJSONResult, {
          inPlace: true,
        });
        return raise(tree, types);
      } catch (error) {
        // Other errors come from parsers, whose messages would quote the text.
        throw error instanceof UndecodableValueError
          ? error
          : damaged('it is not what this serializer writes');
      }
    },
  };
}
