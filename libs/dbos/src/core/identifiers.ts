/** Which strings may name a workflow, a run, a step or an executor; checked at the border, before anything is stored. */
import { InvalidArgumentError } from './errors.js';

/** Longest id or name, in UTF-16 code units. */
export const MAX_IDENTIFIER_LENGTH = 256;

// Control characters would split log lines, and PostgreSQL refuses NUL in text.
// eslint-disable-next-line no-control-regex
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Returns `value` when it is a usable identifier.
 * @throws InvalidArgumentError when it is not a string of 1 to 256 well-formed characters without control characters
 */
export function assertIdentifier(what: string, value: unknown): string {
  const fault = identifierFault(value);
  if (fault)
    throw new InvalidArgumentError(
      `${what} ${fault}. Use 1 to ${MAX_IDENTIFIER_LENGTH} printable characters.`,
    );
  return value as string;
}

function identifierFault(value: unknown): string | undefined {
  if (typeof value !== 'string')
    return `must be a string, not ${value === null ? 'null' : typeof value}`;
  if (value.length === 0) return 'must not be empty';
  if (value.length > MAX_IDENTIFIER_LENGTH) return `is ${value.length} characters long`;
  if (CONTROL_CHARACTER.test(value)) return `${JSON.stringify(value)} contains a control character`;
  if (LONE_SURROGATE.test(value))
    return `${JSON.stringify(value)} contains half of a surrogate pair`;
  return undefined;
}
