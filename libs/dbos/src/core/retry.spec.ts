// How long a step waits before it is tried again, and which options are refused.
import fc from 'fast-check';
import { InvalidArgumentError } from './errors.js';
import { DEFAULT_RETRY_POLICY, retryDelayMs, retryPolicy, type RetryPolicy } from './retry.js';

/** The random number that leaves a delay as it is. */
const NO_JITTER = 0.5;

function delays(policy: RetryPolicy, count: number, random = NO_JITTER): number[] {
  return Array.from({ length: count }, (_, index) => retryDelayMs(policy, index + 1, random));
}

describe('Retry delays', () => {
  it('B6: have the defaults of the DBOS documentation', () => {
    expect(retryPolicy('Step "s"', {})).toEqual({
      maxRetries: 0,
      baseIntervalMs: 100,
      backoffFactor: 2,
      maxIntervalMs: 5_000,
      maxRetryDurationMs: Infinity,
    });
  });

  it('B6: double from 100 ms up to the cap of 5 s', () => {
    expect(delays(DEFAULT_RETRY_POLICY, 8)).toEqual([
      100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000,
    ]);
  });

  it.each([
    ['shortens by 5 % at most', 0, [95, 190, 4_750]],
    ['lengthens by 5 % at most', 1, [105, 210, 5_250]],
  ])('B6: jitter %s', (_, random, expected) => {
    const [first, second, last] = [1, 2, 20].map((retry) =>
      retryDelayMs(DEFAULT_RETRY_POLICY, retry, random),
    );
    expect([first, second, last]).toEqual(expected.map((ms) => expect.closeTo(ms, 6)));
  });

  it('B6: a base above 5 s raises the cap to the base', () => {
    const policy = retryPolicy('Step "s"', { baseIntervalMs: 8_000 });
    expect(delays(policy, 3)).toEqual([8_000, 8_000, 8_000]);
  });

  it('B6: a given cap holds, also below the base', () => {
    const policy = retryPolicy('Step "s"', { baseIntervalMs: 8_000, maxIntervalMs: 300 });
    expect(delays(policy, 2)).toEqual([300, 300]);
  });

  it('grow by the given factor', () => {
    const policy = retryPolicy('Step "s"', { baseIntervalMs: 10, backoffFactor: 3 });
    expect(delays(policy, 4)).toEqual([10, 30, 90, 270]);
  });

  it('are finite and within cap and jitter for every usable policy, however often it failed', () => {
    const policies = fc.record({
      baseIntervalMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      backoffFactor: fc.double({ min: 1, max: 1e6, noNaN: true }),
      maxIntervalMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
    });
    const retries = fc.integer({ min: 1, max: 1e6 });
    const randoms = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(policies, retries, randoms, (options, retry, random) => {
        const delay = retryDelayMs(retryPolicy('Step "s"', options), retry, random);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(options.maxIntervalMs * 1.05 + 1e-6);
      }),
    );
  });

  it('are 0 for a base of 0 at the thousandth retry as at the first', () => {
    const policy = retryPolicy('Step "s"', { maxRetries: Infinity, baseIntervalMs: 0 });
    expect([1, 1_000, 2_000].map((retry) => retryDelayMs(policy, retry, NO_JITTER))).toEqual([
      0, 0, 0,
    ]);
  });
});

describe('A retry policy', () => {
  it('takes an undefined option for one that was left out', () => {
    const options = { maxRetries: undefined, baseIntervalMs: undefined } as unknown as object;
    expect(retryPolicy('Step "s"', options)).toEqual(DEFAULT_RETRY_POLICY);
  });

  it.each<[keyof RetryPolicy, unknown[]]>([
    ['maxRetries', [0, 1, Infinity]],
    ['baseIntervalMs', [0, 0.5, 1e9]],
    ['backoffFactor', [1, 1.5]],
    ['maxIntervalMs', [0, 1, Infinity]],
    ['maxRetryDurationMs', [1, Infinity]],
  ])('takes for %s: %p', (option, values) => {
    for (const value of values) {
      expect(retryPolicy('Step "s"', { [option]: value })[option]).toBe(value);
    }
  });

  it.each<[keyof RetryPolicy, unknown]>([
    ...[-1, 0.5, NaN, -Infinity, '3', null, true].map(
      (value) => ['maxRetries', value] as [keyof RetryPolicy, unknown],
    ),
    ...[-1, NaN, Infinity, -Infinity, '100', null].map(
      (value) => ['baseIntervalMs', value] as [keyof RetryPolicy, unknown],
    ),
    ...[0, 0.99, -2, NaN, Infinity, '2', null].map(
      (value) => ['backoffFactor', value] as [keyof RetryPolicy, unknown],
    ),
    ...[-1, NaN, -Infinity, 'long', '5', null, []].map(
      (value) => ['maxIntervalMs', value] as [keyof RetryPolicy, unknown],
    ),
    ...[0, -1, NaN, -Infinity, 'long', '5', null].map(
      (value) => ['maxRetryDurationMs', value] as [keyof RetryPolicy, unknown],
    ),
  ])('refuses %s: %p, naming the step, the option and the value', (option, value) => {
    const make = (): RetryPolicy => retryPolicy('Step "charge"', { [option]: value });
    expect(make).toThrow(InvalidArgumentError);
    expect(make).toThrow(`Step "charge": ${option} must be `);
    expect(make).toThrow(`not ${String(value)}.`);
  });
});
