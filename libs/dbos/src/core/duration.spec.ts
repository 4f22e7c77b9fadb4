// Spans as numbers and texts, and the moments they lead to.
import fc from 'fast-check';
import { durationMs, momentMs, type Duration } from './duration.js';
import { InvalidArgumentError } from './errors.js';

const MAX_EPOCH_MS = 8_640_000_000_000_000;

/** Undefined for a text that is refused. */
function accepted(text: string): number | undefined {
  try {
    return durationMs('timeout', text as Duration);
  } catch (error) {
    if (error instanceof InvalidArgumentError) return undefined;
    throw error;
  }
}

describe('A duration', () => {
  it.each<[Duration, number]>([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['3d', 259_200_000],
    ['2w', 1_209_600_000],
    [1_500, 1_500],
  ])('%p is %d milliseconds', (duration, expected) => {
    expect(durationMs('timeout', duration)).toBe(expected);
  });

  it('may have spaces around its number and its unit', () => {
    expect(durationMs('timeout', ' 5 m ' as Duration)).toBe(300_000);
  });

  it('B37: rounds fractions of a millisecond up', () => {
    expect(durationMs('A sleep', 1.5)).toBe(2);
    expect(durationMs('A sleep', '0.1ms')).toBe(1);
  });

  it('is 0 when it is negative', () => {
    expect(durationMs('timeout', -5)).toBe(0);
    expect(durationMs('timeout', '-3d')).toBe(0);
  });

  it.each<[unknown]>([
    [NaN],
    [Infinity],
    [-Infinity],
    [''],
    ['5'],
    ['m'],
    ['5 minutes'],
    ['5M'],
    ['1e3s'],
    ['NaNms'],
    ['Infinitys'],
    [`${'9'.repeat(400)}d`],
    [null],
    [undefined],
    [{}],
    [5n],
  ])('refuses %p, naming what it was for', (value) => {
    expect(() => durationMs('timeout', value as Duration)).toThrow(InvalidArgumentError);
    expect(() => durationMs('timeout', value as Duration)).toThrow(/^timeout must be /);
  });

  it('is a whole, finite, non-negative number whatever text is accepted', () => {
    const units = fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w', '', 'y');
    const texts = fc.oneof(
      fc.string(),
      fc.tuple(fc.float(), units).map(([amount, unit]) => `${amount}${unit}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const ms = accepted(text);
        expect(ms === undefined || ms >= 0).toBe(true);
        expect(ms === undefined || (Number.isFinite(ms) && Math.ceil(ms) === ms)).toBe(true);
      }),
    );
  });
});

describe('A moment', () => {
  it('is a span after now, in whole milliseconds', () => {
    expect(momentMs('A sleep', '1s', 1_000.25)).toBe(2_001);
  });

  it('is the date that is given', () => {
    expect(momentMs('A sleep', new Date(12_345), 99_999)).toBe(12_345);
  });

  it('may be the last one that a Date can hold', () => {
    expect(momentMs('A sleep', MAX_EPOCH_MS - 1_000, 1_000)).toBe(MAX_EPOCH_MS);
  });

  it.each<[string, Duration | Date]>([
    ['an invalid date', new Date('soon')],
    ['a span beyond the last date', MAX_EPOCH_MS],
    ['NaN', NaN],
    ['Infinity', Infinity],
  ])('refuses %s', (_, when) => {
    expect(() => momentMs('A sleep', when, 1_000)).toThrow(InvalidArgumentError);
  });
});
