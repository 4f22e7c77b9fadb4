// Timers of any length, and waits that a signal ends.
import { jest } from '@jest/globals';
import { FakeClock } from '../../../../test/support/fake-clock.js';
import { SystemClock, wait } from './clock.js';

const MAX_TIMER_MS = 2 ** 31 - 1;
const DAY_MS = 86_400_000;

describe('The system clock', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  it.each([1, 250, MAX_TIMER_MS, MAX_TIMER_MS + 1, 30 * DAY_MS, 400 * DAY_MS])(
    'B36: fires once, after %d ms and not before',
    (ms) => {
      const fire = jest.fn();
      new SystemClock().schedule(ms, fire);

      jest.advanceTimersByTime(ms - 1);
      expect(fire).toHaveBeenCalledTimes(0);
      jest.advanceTimersByTime(1);
      expect(fire).toHaveBeenCalledTimes(1);
      jest.advanceTimersByTime(2 * MAX_TIMER_MS);
      expect(fire).toHaveBeenCalledTimes(1);
    },
  );

  it('B36: never asks Node for a timer that would overflow', () => {
    const setTimeout = jest.spyOn(globalThis, 'setTimeout');
    new SystemClock().schedule(400 * DAY_MS, () => undefined);
    jest.advanceTimersByTime(400 * DAY_MS);

    const asked = setTimeout.mock.calls.map(([, ms]) => ms ?? 0);
    expect(asked.length).toBeGreaterThan(10);
    expect(Math.max(...asked)).toBeLessThanOrEqual(MAX_TIMER_MS);
  });

  it.each([0, -1, NaN])('fires in the next turn, and not for ever, when asked for %p ms', (ms) => {
    const fire = jest.fn();
    new SystemClock().schedule(ms, fire);
    expect(fire).toHaveBeenCalledTimes(0);
    jest.advanceTimersByTime(2);
    expect(fire).toHaveBeenCalledTimes(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('does not fire early when Node does', () => {
    const clock = new SystemClock();
    const fire = jest.fn();
    const monotonic = jest.spyOn(clock, 'monotonic');
    monotonic.mockReturnValue(0);
    clock.schedule(100, fire);
    monotonic.mockReturnValue(99.4);
    jest.advanceTimersByTime(100);
    expect(fire).toHaveBeenCalledTimes(0);
    monotonic.mockReturnValue(100);
    jest.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
  });

  it('does not care when the wall clock jumps', () => {
    const fire = jest.fn();
    new SystemClock().schedule(1_000, fire);
    jest.setSystemTime(Date.now() + DAY_MS);
    jest.advanceTimersByTime(999);
    expect(fire).toHaveBeenCalledTimes(0);
    jest.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
  });

  it.each([10, 30 * DAY_MS])('leaves no timer of %d ms behind that was cancelled', (ms) => {
    const fire = jest.fn();
    const timer = new SystemClock().schedule(ms, fire);
    jest.advanceTimersByTime(ms / 2 + 1); // a long one has been armed again by now
    timer.cancel();
    expect(jest.getTimerCount()).toBe(0);
    expect(fire).toHaveBeenCalledTimes(0);
  });
});

describe('A wait', () => {
  it('ends when its time has come', async () => {
    const clock = new FakeClock();
    const waiting = wait(clock, 100);
    clock.advance(100);
    await expect(waiting).resolves.toBeUndefined();
  });

  it('ends with the reason of its signal, leaving no timer behind', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const waiting = wait(clock, 100, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(clock.pending).toEqual([]);
  });

  it('does not begin when its signal is aborted already', async () => {
    const clock = new FakeClock();
    await expect(wait(clock, 100, AbortSignal.abort(new Error('late')))).rejects.toThrow('late');
    expect(clock.pending).toEqual([]);
  });

  it('leaves no listener on its signal behind', async () => {
    const clock = new FakeClock();
    const { signal } = new AbortController();
    const added = jest.spyOn(signal, 'addEventListener');
    const removed = jest.spyOn(signal, 'removeEventListener');
    const waiting = wait(clock, 100, signal);
    clock.advance(100);
    await waiting;
    expect(added.mock.calls.map(([, listener]) => listener)).toEqual(
      removed.mock.calls.map(([, listener]) => listener),
    );
  });
});
