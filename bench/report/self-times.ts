/** Sums a CPU profile up: who spent the time itself, not in what it called. */

/** Of the Chrome DevTools protocol. */
export interface CpuProfile {
  readonly nodes: ReadonlyArray<{
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }>;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** The package, or the file of the library. */
  readonly place: string;
  readonly us: number;
}

/** What is not work: waiting, and the profiler's own start and stop. */
const LEFT_OUT = new Set(['(idle)', 'dispatch']);

/** Longest first. */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): SelfTime[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const sums = new Map<string, SelfTime>();
  samples.forEach((id, index) => {
    const frame = frames.get(id);
    if (!frame || LEFT_OUT.has(frame.functionName)) return;
    const place = placeOf(frame.url);
    const name = frame.functionName || `(anonymous, line ${frame.lineNumber + 1})`;
    const key = `${place} ${name}`;
    const us = (sums.get(key)?.us ?? 0) + (timeDeltas[index] ?? 0);
    sums.set(key, { name, place, us });
  });
  return [...sums.values()].sort((one, other) => other.us - one.us);
}

function placeOf(url: string): string {
  const path = url.replace(/^file:\/\//, '');
  const inPackage = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  if (inPackage !== undefined) return inPackage;
  return /\/dist\/(?:generated\/)?(.+)$/.exec(path)?.[1] ?? (path || 'V8');
}
