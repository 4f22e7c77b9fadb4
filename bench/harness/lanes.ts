/** Does a thing many times, never more than so many at once. */
export async function inLanes(
  { count, lanes }: { readonly count: number; readonly lanes: number },
  action: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await action(next++);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
}
