/** The error for text of our own format that is not what we write. */
import { SUPERJSON_FORMAT } from './format.js';
import { UndecodableValueError } from './serialization-error.js';

/** @param reason what is wrong, without a quotation of the text, which may be confidential */
export function damaged(reason: string, options?: ErrorOptions): UndecodableValueError {
  return new UndecodableValueError(SUPERJSON_FORMAT, reason, options);
}
