/** Ids of workflows whose caller gave none. */
import { createHash, randomUUID } from 'node:crypto';
import { MAX_IDENTIFIER_LENGTH } from './identifiers.js';

/** The time of the last id, and what such an id begins with: many are made in one millisecond. */
let lastMs = -1;
let beginning = '';

/**
 * A UUID of version 7: 48 bits of time in milliseconds, the rest at random (RFC 9562, section 5.7). What is begun together
 * then lies together in the indexes, of workflows as of their steps, however large a history they hold.
 */
export function newWorkflowId(): string {
  const nowMs = Date.now();
  if (nowMs !== lastMs) {
    const time = nowMs.toString(16).padStart(12, '0');
    beginning = `${time.slice(0, 8)}-${time.slice(8)}-7`;
    lastMs = nowMs;
  }
  return beginning + randomUUID().slice(15); // what follows the digit of its version
}

/** `<parent>-<step>`; where that would be too long an id, a digest stands for the parent. */
export function childId(parentId: string, stepId: string): string {
  const id = `${parentId}-${stepId}`;
  if (id.length <= MAX_IDENTIFIER_LENGTH) return id;
  return `${createHash('sha256').update(id).digest('hex')}-child`;
}
