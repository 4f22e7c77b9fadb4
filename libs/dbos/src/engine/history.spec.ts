// What was recorded is recalled where the same is asked for; everything else is a difference.
import type { StepRecord } from '../repository/step-repository.js';
import { History } from './history.js';

function record(stepId: string, name: string): StepRecord {
  const at = new Date(0);
  const payload = { epoch: 1, output: null, error: null, childWorkflowId: null };
  return { workflowId: 'w', stepId, name, attempts: 1, startedAt: at, completedAt: at, ...payload };
}

/** `'0 charge'` is step 0 with the name `charge`. */
function history(...steps: string[]): History {
  return new History(
    steps.map((step) => {
      const [stepId = '', ...name] = step.split(' ');
      return record(stepId, name.join(' '));
    }),
  );
}

describe('A history', () => {
  it('of a first run is empty, and has nothing to say', () => {
    const empty = history();
    expect(empty.isEmpty).toBe(true);
    expect(empty.recall('0', 'charge')).toBeUndefined();
    expect(empty.recallScope('0', 'flow.all')).toBeUndefined();
    expect(empty.leftover('', 0)).toBeUndefined();
  });

  it('recalls the step that has the id and the name', () => {
    expect(history('0 reserve', '1 charge').recall('1', 'charge')).toMatchObject({
      step: { stepId: '1', name: 'charge' },
    });
  });

  it('knows nothing of a step behind its end', () => {
    expect(history('0 reserve').recall('1', 'charge')).toBeUndefined();
  });

  it('tells how a step of another name differs', () => {
    expect(history('0 reserve').recall('0', 'refund')).toEqual({
      difference: { stepId: '0', recorded: 'reserve', requested: 'refund' },
    });
  });

  it('does not care for the order in which its records are read', () => {
    expect(history('2 c', '0 a', '1 b').leftover('', 1)).toMatchObject({ stepId: '1' });
  });

  it('compares positions as numbers', () => {
    expect(history('10 ten', '9 nine').leftover('', 9)).toMatchObject({ recorded: 'nine' });
    expect(history('10 ten', '9 nine').leftover('', 10)).toMatchObject({ recorded: 'ten' });
  });
});

describe('A history with branches', () => {
  const branched = history('0 before', '1.0.0 left', '1.0.1 left again', '1.1.0 right');

  it('recalls the steps of branches', () => {
    expect(branched.recall('1.0.1', 'left again')).toMatchObject({ step: { stepId: '1.0.1' } });
  });

  it('tells that a step is asked for where branches were', () => {
    expect(branched.recall('1', 'charge')).toEqual({
      difference: { stepId: '1', recorded: 'branches with left', requested: 'charge' },
    });
  });

  it('lets branches be opened where branches were', () => {
    expect(branched.recallScope('1', 'flow.all')).toBeUndefined();
  });

  it('tells that branches are opened where a step was', () => {
    expect(branched.recallScope('0', 'flow.all')).toEqual({
      stepId: '0',
      recorded: 'before',
      requested: 'flow.all',
    });
  });

  it('lets a race be run again that was undecided', () => {
    expect(branched.recall('1', 'flow.race')).toBeUndefined();
  });

  it('knows a decided race by its name, as any step', () => {
    const decided = history('0 flow.race', '0.1.0 quick');
    expect(decided.recall('0', 'flow.race')).toMatchObject({ step: { stepId: '0' } });
    expect(decided.recall('0', 'charge')).toMatchObject({ difference: { recorded: 'flow.race' } });
    expect(decided.recallScope('0', 'flow.all')).toMatchObject({ recorded: 'flow.race' });
  });

  it('is not misled by positions of which one begins like the other', () => {
    expect(history('10.0.0 inside').recall('1', 'charge')).toBeUndefined();
    expect(history('1.10.0 inside').recall('1.1', 'charge')).toBeUndefined();
  });

  it('knows branches of branches at every level', () => {
    const deep = history('0.1.2.3.4 deep');
    expect(deep.recall('0', 'charge')).toMatchObject({
      difference: { recorded: 'branches with deep' },
    });
    expect(deep.recall('0.1.2', 'charge')).toMatchObject({
      difference: { recorded: 'branches with deep' },
    });
    expect(deep.recall('0.1.1', 'charge')).toBeUndefined();
  });
});

describe('The rest of a history', () => {
  it('is nothing when the code asked for all of it', () => {
    expect(history('0 reserve', '1 charge').leftover('', 2)).toBeUndefined();
  });

  it('is nothing when the code asked for more', () => {
    expect(history('0 reserve').leftover('', 5)).toBeUndefined();
  });

  it('begins with the first step that was not asked for', () => {
    expect(history('0 a', '1 b', '2 c').leftover('', 1)).toEqual({
      stepId: '1',
      recorded: 'b',
      requested: undefined,
    });
  });

  it('begins with branches that were not opened', () => {
    expect(history('0 a', '1.0.0 left').leftover('', 1)).toEqual({
      stepId: '1',
      recorded: 'branches with left',
      requested: undefined,
    });
  });

  it('of the run is nothing when only branches that were opened have one', () => {
    expect(history('0.0.0 left', '0.0.1 left again').leftover('', 1)).toBeUndefined();
  });

  it('of a branch is counted in that branch only', () => {
    const branched = history('0.0.0 left', '0.0.1 left again', '0.1.0 right', '1 after');
    expect(branched.leftover('0.0.', 1)).toMatchObject({ stepId: '0.0.1', recorded: 'left again' });
    expect(branched.leftover('0.1.', 1)).toBeUndefined();
  });
});
