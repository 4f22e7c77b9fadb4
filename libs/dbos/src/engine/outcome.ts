/** Turns what user code returns or throws into data that can be recorded, and back: the same on first run and replay. */
import type { EncodedValue, SerializerSet } from '../core/serialization/serializer.js';

/** A value or an error, encoded, together with the copy of it that the workflow gets to see. */
export interface Outcome<T> {
  readonly output?: EncodedValue;
  readonly error?: EncodedValue;
  /** Returns the value or throws the error. */
  unwrap(): T;
}

/** An outcome as it stands in a row. */
export interface RecordedOutcome {
  readonly output: EncodedValue | null;
  readonly error: EncodedValue | null;
}

export class OutcomeCodec {
  constructor(readonly serializers: SerializerSet) {}

  /**
   * The caller gets a decoded copy, as a replay will: no first run can depend on identity, classes or later
   * mutation of what a step returned.
   * @throws UnserializableValueError for a value that cannot be kept; it says where in the value the reason lies
   */
  succeeded<T>(value: T, what: string): Outcome<T> {
    const output = this.serializers.encode(value, what);
    return {
      output,
      unwrap: () => (isPrimitive(value) ? value : (this.serializers.decode(output) as T)),
    };
  }

  failed(thrown: unknown): Outcome<never> {
    const error = this.serializers.encodeError(thrown);
    return {
      error,
      unwrap: () => {
        throw this.serializers.decodeError(error);
      },
    };
  }

  /** @throws when the recorded text cannot be decoded; `unwrap` then only throws what was recorded */
  recalled<T>({ output, error }: RecordedOutcome): Outcome<T> {
    if (error) {
      const decoded = this.serializers.decodeError(error);
      return {
        unwrap: () => {
          throw decoded;
        },
      };
    }
    const value = (output ? this.serializers.decode(output) : undefined) as T;
    return { unwrap: () => value };
  }
}

function isPrimitive(value: unknown): boolean {
  return value === null || (typeof value !== 'object' && typeof value !== 'function');
}
