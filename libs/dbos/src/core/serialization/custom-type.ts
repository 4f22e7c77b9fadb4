/** Types of the application, such as Prisma's Decimal, that are to be stored and to come back as themselves. */
import { InvalidArgumentError } from '../errors.js';

/**
 * Teaches the default serializer a class. Its functions are declared as methods, whose parameters TypeScript compares
 * both ways: a `CustomType<Decimal, string>` is a `CustomType` without a cast.
 *
 * @example
 * const decimal: CustomType<Decimal, string> = {
 *   name: 'Decimal',
 *   isType: (value) => Decimal.isDecimal(value),
 *   serialize: (value) => value.toString(),
 *   deserialize: (text) => new Decimal(text),
 * };
 */
export interface CustomType<T extends object = object, D = unknown> {
  /** Written with every value; rows stay readable as long as a type of this name is registered. */
  readonly name: string;
  /** Asked for every object that is not an ordinary object or array. */
  isType(value: object): boolean;
  /** Data that can be stored: JSON, Dates, Maps, other registered types, and so on. */
  serialize(value: T): D;
  deserialize(data: D): T;
}

/**
 * The types by name.
 * @throws InvalidArgumentError when a name is missing or given twice
 */
export function customTypesByName(types: readonly CustomType[]): ReadonlyMap<string, CustomType> {
  const byName = new Map<string, CustomType>();
  for (const type of types) {
    if (typeof type.name !== 'string' || type.name === '') {
      throw new InvalidArgumentError(
        'A custom type for the serializer needs a name: it is stored with its values.',
      );
    }
    if (byName.has(type.name)) {
      throw new InvalidArgumentError(
        `Two custom types are named "${type.name}". Give each its own name.`,
      );
    }
    byName.set(type.name, type);
  }
  return byName;
}
