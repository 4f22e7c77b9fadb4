/** How values that superjson would change are written instead: as a tag with data that it keeps. */

/**
 * Stands for a value in the tree given to superjson. It is registered there as a class, so its mark is part of
 * superjson's metadata and user data that looks like one stays user data.
 */
export class Tagged {
  constructor(
    /** What is stood for; see `lowering.ts`. */
    readonly type: string,
    readonly data: unknown,
  ) {}
}

/** An earlier object of the same value, by its number in order of first occurrence. */
export const REFERENCE = 'reference';

/** An ordinary object with keys that superjson refuses, as entries. */
export const OBJECT = 'object';

/** An object without prototype, as entries. */
export const DICTIONARY = 'dictionary';

/** An error: name, message, stack, cause, errors, fields. */
export const ERROR = 'Error';

/** Before the name of a type that the application has registered, so that it never meets one of ours. */
export const CUSTOM_PREFIX = 'custom:';
