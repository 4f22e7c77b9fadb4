// Whether a series of measurements levels off: how much it grows over its second half, by least squares.

export interface Allowance {
  /** Of the mean of the second half. */
  readonly share: number;
  /** However small the mean is. */
  readonly atLeast: number;
}

export interface Trend {
  readonly mean: number;
  /** From the beginning to the end of the second half, along the line of least squares. */
  readonly growth: number;
}

/** Of the second half; measurements are taken at equal intervals. */
export function trendOf(series: readonly number[]): Trend {
  const half = series.slice(Math.floor(series.length / 2));
  const mean = average(half);
  const middle = (half.length - 1) / 2;
  const [covariance, variance] = half.reduce(
    ([sum, square], value, at) => [
      sum + (at - middle) * (value - mean),
      square + (at - middle) ** 2,
    ],
    [0, 0],
  );
  return { mean, growth: variance === 0 ? 0 : (covariance / variance) * (half.length - 1) };
}

/** Shrinking is no leak. */
export function levelsOff({ mean, growth }: Trend, { share, atLeast }: Allowance): boolean {
  return growth <= Math.max(share * mean, atLeast);
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
