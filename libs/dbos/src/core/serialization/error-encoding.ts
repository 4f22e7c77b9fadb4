/** Records whatever was thrown, always: an error that cannot be recorded would be lost. */
import { describeBriefly, describeThrown, type StorageCheck } from './error-description.js';
import type { ErrorRecord } from './error-record.js';
import { type EncodedValue, PLAIN_JSON_FORMAT } from './format.js';

/** Stands for an error of which not even a brief description could be stored. Quotes nothing that may be secret. */
const UNRECORDABLE: ErrorRecord = {
  name: 'UnrecordableError',
  message:
    'Something was thrown, but not even a brief description of it could be encoded. ' +
    'Check the configured serializer and its maxBytes.',
};

/**
 * The text to store for `thrown`, as detailed as `encode` allows. Never throws.
 * @param encode makes the text of a record; throws when it cannot
 * @param assertStorable asked of each part, so that what cannot be kept is left out of the record
 */
export function encodeThrown(
  thrown: unknown,
  encode: (record: unknown) => EncodedValue,
  assertStorable: StorageCheck = (value) => void encode(value),
): EncodedValue {
  return (
    attempt(() => encode(describeThrown(thrown, assertStorable))) ??
    attempt(() => encode(describeBriefly(thrown))) ?? {
      text: JSON.stringify(UNRECORDABLE),
      format: PLAIN_JSON_FORMAT,
    }
  );
}

function attempt(make: () => EncodedValue): EncodedValue | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
