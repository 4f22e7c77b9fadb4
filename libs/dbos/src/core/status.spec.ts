// Which statuses end a workflow.
import { isTerminal, WORKFLOW_STATUSES } from './status.js';

describe('A workflow status', () => {
  it('is one of those of DBOS, or SUSPENDED', () => {
    expect([...WORKFLOW_STATUSES].sort()).toEqual([
      'CANCELLED',
      'DELAYED',
      'ENQUEUED',
      'ERROR',
      'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
      'PENDING',
      'SUCCESS',
      'SUSPENDED',
    ]);
  });

  it('is terminal when result() has an answer', () => {
    expect(WORKFLOW_STATUSES.filter(isTerminal)).toEqual([
      'SUCCESS',
      'ERROR',
      'CANCELLED',
      'MAX_RECOVERY_ATTEMPTS_EXCEEDED',
    ]);
  });
});
