/** Tells a stack that ran out from other errors: the depth limit leaves room, but not for every caller's own depth. */
export function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message === 'Maximum call stack size exceeded';
}
