/** The arguments of a workflow as they were stored. */
import { UnreadableArgumentsError } from '../core/errors.js';
import { SealedArgumentsError } from '../core/extension-errors.js';
import {
  UnknownCodecError,
  UnknownCodecKeyError,
} from '../core/serialization/serialization-error.js';
import type { SerializerSet } from '../core/serialization/serializer.js';
import type { ClaimedWorkflow } from '../repository/queue-repository.js';

/**
 * @throws SealedArgumentsError where a codec or a key is missing, which another deployment may have
 * @throws UnreadableArgumentsError for what nothing will ever read
 */
export function storedArguments(
  serializers: SerializerSet,
  { id, name, input }: ClaimedWorkflow,
): unknown[] {
  try {
    const args = serializers.decode(input);
    if (Array.isArray(args)) return args;
    throw new TypeError('They are not a list.');
  } catch (error) {
    const isSealed = error instanceof UnknownCodecError || error instanceof UnknownCodecKeyError;
    throw isSealed
      ? new SealedArgumentsError(id, name, error)
      : new UnreadableArgumentsError(id, name, error);
  }
}
