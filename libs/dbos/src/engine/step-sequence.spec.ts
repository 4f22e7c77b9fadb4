// Ids of steps in the order of calls, and the end of a line of execution with all that lies below it.
import { BranchClosedError, StepSequence } from './step-sequence.js';

describe('A step sequence', () => {
  it('counts from 0', () => {
    const root = StepSequence.root();
    expect([root.takeId(), root.takeId(), root.takeId()]).toEqual(['0', '1', '2']);
    expect(root.length).toBe(3);
  });

  it('has branches that count by themselves, below the id of their operation', () => {
    const root = StepSequence.root();
    const [left, right] = [0, 1].map((index) => root.branch('3', index));
    expect([left?.takeId(), right?.takeId(), left?.takeId()]).toEqual(['3.0.0', '3.1.0', '3.0.1']);
    expect(root.takeId()).toBe('0');
  });

  it('has branches of branches', () => {
    const branch = StepSequence.root().branch('3', 1);
    const stepId = branch.takeId();
    expect(branch.branch(stepId, 2).takeId()).toBe('3.1.0.2.0');
  });

  it('aborts its signal with the reason of its end', () => {
    const root = StepSequence.root();
    const { signal } = root;
    root.close(new Error('over'));
    expect(signal).toMatchObject({ aborted: true, reason: new Error('over') });
    expect(root.isClosed).toBe(true);
  });

  it('shows an aborted signal to those who first ask for it after the end', () => {
    const root = StepSequence.root();
    root.close(new Error('over'));
    expect(root.signal).toMatchObject({ aborted: true, reason: new Error('over') });
  });

  it('keeps the first reason of its end', () => {
    const root = StepSequence.root();
    root.close(new Error('first'));
    root.close(new Error('second'));
    expect(root.reason).toEqual(new Error('first'));
  });

  it('has one signal, however often it is asked for', () => {
    const root = StepSequence.root();
    expect(root.signal).toBe(root.signal);
  });

  it('ends with all branches below it', () => {
    const root = StepSequence.root();
    const branch = root.branch('0', 0);
    const below = branch.branch('0.0.0', 0);
    root.close(new Error('over'));
    expect([branch.signal.aborted, below.signal.aborted]).toEqual([true, true]);
  });

  it('leaves the sequence above it alone when it ends', () => {
    const root = StepSequence.root();
    root.branch('0', 0).close(new BranchClosedError());
    expect([root.isClosed, root.lostRace]).toEqual([false, false]);
  });

  it('has lost the race that any sequence above it has lost, but no other', () => {
    const root = StepSequence.root();
    const [loser, winner] = [root.branch('0', 0), root.branch('0', 1)];
    const below = loser.branch('0.0.0', 0);
    loser.close(new BranchClosedError());
    expect([loser.lostRace, below.lostRace, winner.lostRace]).toEqual([true, true, false]);
  });

  it('has lost no race when it was interrupted', () => {
    const root = StepSequence.root();
    const branch = root.branch('0', 0);
    root.close(new Error('cancelled'));
    expect([root.lostRace, branch.lostRace]).toEqual([false, false]);
  });

  it('closes a branch that is opened after its end', () => {
    const root = StepSequence.root();
    root.close(new Error('over'));
    expect(root.branch('0', 0)).toMatchObject({ isClosed: true, reason: new Error('over') });
  });

  it('forgets branches that have ended', () => {
    const root = StepSequence.root();
    const [ended, going] = [root.branch('0', 0), root.branch('1', 0)];
    root.dropBranches([ended]);
    root.close(new Error('over'));
    expect([ended.isClosed, going.isClosed]).toEqual([false, true]);
  });

  it('forgets a hundred thousand branches in no time', () => {
    const root = StepSequence.root();
    const branches = Array.from({ length: 100_000 }, (_, index) => root.branch('0', index));
    const startedAt = performance.now();
    root.dropBranches(branches);
    expect(performance.now() - startedAt).toBeLessThan(10_000); // a search for each would take minutes
  });
});
