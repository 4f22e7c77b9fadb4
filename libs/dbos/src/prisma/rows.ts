/** How rows become records: encoded values get their format back, absent columns become null. */
import type { EncodedValue } from '../core/serialization/serializer.js';

/** A payload column together with the column that names its format. */
export function encoded(text: string | null, format: string | null): EncodedValue | null {
  return text === null ? null : { text, format: format ?? '' };
}
