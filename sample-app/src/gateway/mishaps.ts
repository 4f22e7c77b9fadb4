/** What goes wrong at a payment gateway, at random or as told. */

export type Mishap =
  | 'none'
  /** 503, nothing was done. */
  | 'unavailable'
  /** The card is charged, and the connection breaks before the answer. */
  | 'lost answer'
  /** The card is charged, and the answer comes when nobody waits any more. */
  | 'late answer';

const MISHAPS: readonly Mishap[] = ['unavailable', 'lost answer', 'late answer'];

/** The same seed, the same mishaps in the same order. `rate` is the share of calls that go wrong. */
export function randomMishaps(rate: number, seed: number): () => Mishap {
  const random = mulberry32(seed);
  return () => {
    if (random() >= rate) return 'none';
    return MISHAPS[Math.floor(random() * MISHAPS.length)] ?? 'none';
  };
}

/** Tommy Ettinger's generator of 32 bits: small, and good enough to be unlucky with. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
