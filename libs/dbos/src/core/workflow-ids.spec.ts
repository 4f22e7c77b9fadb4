import { childId, newWorkflowId } from './workflow-ids.js';
import { MAX_IDENTIFIER_LENGTH } from './identifiers.js';

describe('newWorkflowId', () => {
  it('is a UUID of version 7 in the variant of RFC 9562', () => {
    expect(newWorkflowId()).toMatch(
      /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/,
    );
  });

  it('begins with the time in milliseconds, so that what is begun together lies together in an index', () => {
    const before = Date.now();
    const time = Number.parseInt(newWorkflowId().replaceAll('-', '').slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  it('is another one each time, however many are made in a millisecond', () => {
    const ids = Array.from({ length: 10_000 }, newWorkflowId);
    expect(new Set(ids).size).toBe(10_000);
  });
});

describe('childId', () => {
  it('is short enough an identifier whatever the id of the parent', () => {
    const parent = 'p'.repeat(MAX_IDENTIFIER_LENGTH);
    expect(childId(parent, '12').length).toBeLessThanOrEqual(MAX_IDENTIFIER_LENGTH);
    expect(childId(parent, '12')).not.toBe(childId(parent, '13'));
  });
});
