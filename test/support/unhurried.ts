// Lets an engine whose clock stands still claim all the same: the database's clock goes on.
import type { CheckpointRepository } from 'nestjs-dbos';

/** Longer than any test. */
const VALID_MS = 600_000;

/**
 * A claim takes nothing once it has expired, by the database's clock. An engine whose clock stands still believes that no
 * time has passed since it joined, so that all of its claims would come too late two seconds after that.
 */
export function letClaimsBeLate({ queues }: Pick<CheckpointRepository, 'queues'>): void {
  const claim = queues.claim.bind(queues);
  Object.assign(queues, {
    claim: ((terms) =>
      claim({
        ...terms,
        validForMs: VALID_MS,
        expiresAt: new Date(Date.now() + VALID_MS),
      })) satisfies typeof queues.claim,
  });
}
