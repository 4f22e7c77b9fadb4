import type { Clock } from '../core/clock.js';
import { Lifecycle, type WorkflowEvent } from './lifecycle.js';

const WORKFLOW = { id: 'order-1', name: 'Checkout.run', epoch: 1 };

/** A clock that counts how often it is looked at. */
function countingClock(): Clock & { looks: number } {
  const clock = {
    looks: 0,
    now: () => (clock.looks += 1),
    monotonic: () => 0,
    schedule: () => ({ cancel: () => undefined }),
  };
  return clock;
}

function lived(lifecycle: Lifecycle): void {
  lifecycle.enqueued(WORKFLOW);
  lifecycle.began(WORKFLOW);
  lifecycle.ended(WORKFLOW, 'SUCCESS');
}

describe('The lifecycle', () => {
  it('makes no event while nobody listens', () => {
    const clock = countingClock();
    const lifecycle = new Lifecycle(clock, () => undefined);
    lived(lifecycle);
    expect(clock.looks).toBe(0);
  });

  it('tells whoever listens, from then on and until they listen no more', () => {
    const lifecycle = new Lifecycle(countingClock(), () => undefined);
    const events: WorkflowEvent[] = [];
    lived(lifecycle);
    const stop = lifecycle.subscribe({
      next: (event) => void events.push(event),
      complete: () => undefined,
    });
    lived(lifecycle);
    stop();
    lived(lifecycle);
    expect(events.map(({ type }) => type)).toEqual(['enqueued', 'started', 'succeeded']);
    expect(events[1]).toEqual({
      type: 'started',
      workflowId: 'order-1',
      workflowName: 'Checkout.run',
      at: new Date(2),
    });
    expect(lifecycle.audience).toBe(0);
  });

  it.each([
    ['SUCCESS', 'succeeded'],
    ['ERROR', 'failed'],
    ['DELAYED', 'retrying'],
    ['SUSPENDED', 'suspended'],
    ['MAX_RECOVERY_ATTEMPTS_EXCEEDED', 'setAside'],
    ['DBOS_RUN_CANCELLED', 'cancelled'],
    ['DBOS_OWNERSHIP_LOST', 'left'],
    ['DBOS_EXECUTOR_STOPPING', 'left'],
    ['parked', 'parked'],
  ])('calls an end as %s %s', (how, type) => {
    const lifecycle = new Lifecycle(countingClock(), () => undefined);
    const types: string[] = [];
    lifecycle.subscribe({
      next: (event) => void types.push(event.type),
      complete: () => undefined,
    });
    lifecycle.ended(WORKFLOW, how);
    expect(types).toEqual([type]);
  });
});
