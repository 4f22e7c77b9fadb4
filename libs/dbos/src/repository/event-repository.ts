/** What workflows let others know while they run; set with the step that sets it (see `NewStep.event`). */
import type { EncodedValue } from '../core/serialization/serializer.js';

/** Of which workflow, under which key. */
export interface EventAddress {
  readonly workflowId: string;
  readonly key: string;
}

export interface EventReading {
  /** Undefined while it has not been set. */
  readonly value: EncodedValue | undefined;
  /** The workflow has succeeded or failed: what is not set by now will not be. */
  readonly isOver: boolean;
}

export interface EventRepository {
  /** The value that the event has now. */
  latest(event: EventAddress): Promise<EventReading>;
}
