// The judgement of a soak: what grows on in its second half is a leak, what goes up and down is not.
import { levelsOff, trendOf } from './levelling.js';

const ALLOWANCE = { share: 0.1, atLeast: 1 };
const series = (valueAt: (n: number) => number): number[] =>
  Array.from({ length: 60 }, (_, n) => valueAt(n));

const isLevel = (values: readonly number[]): boolean => levelsOff(trendOf(values), ALLOWANCE);

describe('A series of measurements', () => {
  it('levels off when it grew in its first half only', () => {
    expect(isLevel(series((n) => Math.min(n, 30)))).toBe(true);
  });

  it('levels off when it goes up and down', () => {
    expect(isLevel(series((n) => 100 + 30 * (n % 2)))).toBe(true);
  });

  it('levels off when it shrinks', () => {
    expect(isLevel(series((n) => 100 - n))).toBe(true);
  });

  it('does not when it goes on growing, and says by how much', () => {
    const values = series((n) => 100 + n);
    expect(trendOf(values)).toEqual({ mean: 144.5, growth: 29 });
    expect(isLevel(values)).toBe(false);
  });
});
