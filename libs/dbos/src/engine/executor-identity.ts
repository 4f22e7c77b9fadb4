/** Under which id this process owns workflows: a new one at every joining, so that no other can be mistaken for it. */
import { randomUUID } from 'node:crypto';

/** Hex digits that tell the joinings of one name apart. */
const SUFFIX_LENGTH = 8;

export class ExecutorIdentity {
  private current: string;

  /** @param name the configured `executorId`, which at most one live process may have; undefined for none */
  constructor(readonly name: string | undefined) {
    this.current = this.fresh();
  }

  /** What rows of workflows owned by this process say. */
  get id(): string {
    return this.current;
  }

  /** After it was declared dead a process comes back as another one; what it owned before is no longer its own. */
  renew(): string {
    const former = this.current;
    this.current = this.fresh();
    return former;
  }

  private fresh(): string {
    const unique = randomUUID();
    return this.name === undefined ? unique : `${this.name}#${unique.slice(0, SUFFIX_LENGTH)}`;
  }
}
