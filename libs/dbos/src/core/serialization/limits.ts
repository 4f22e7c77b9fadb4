/** How large and how deep a stored value may be. */

/**
 * Levels of nesting in a stored value. Far beyond real data, and below what overflows the stack. On the rich path it
 * counts the levels of the stored form, in which an entry of a Map takes two and a field of an Error four.
 */
export const MAX_DEPTH = 1_000;

/** Bytes of a stored value, unless configured otherwise: a row this large already hurts everyone who reads it. */
export const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;
