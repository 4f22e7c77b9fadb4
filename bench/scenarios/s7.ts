/**
 * S1 and S4b beside a long past, as a share of what they were in the same phase on tables that held nothing. The past
 * is put in by SQL, vacuumed and analysed, and then a checkpoint is written: what follows pays for the first touch of
 * every page, as it would after any checkpoint of a running server.
 */
import { median, type Sample, type Scenario } from '../harness/scenario.js';
import type { Director } from '../harness/director.js';
import type { Stage } from '../harness/stage.js';
import { main as startAndResult, type Size as StartSize } from './s1.js';
import { main as drain, type Size as DrainSize } from './s4b.js';

interface Size {
  readonly start: StartSize;
  readonly drain: DrainSize;
  readonly past: number;
  readonly listings: number;
}

/** What a list shows at once. */
const PAGE = 50;

async function fill(stage: Stage, { past }: Size): Promise<Sample> {
  await stage.fill(past);
  return { value: past };
}

async function list(stage: Stage, { listings }: Size): Promise<Sample> {
  const engine = await stage.launch();
  const times: number[] = [];
  for (let listing = 0; engine.listNewest && listing < listings; listing += 1) {
    const start = performance.now();
    const listed = await engine.listNewest(PAGE);
    times.push(performance.now() - start);
    if (listed !== PAGE) throw new Error(`Asked for ${PAGE} workflows, got ${listed}.`);
  }
  return { value: median(times) };
}

async function both(director: Director): Promise<{ start: Sample; drain: Sample }> {
  return { start: await director.play('start'), drain: await director.play('drain') };
}

export const scenario: Scenario<Size> = {
  title: 'S1 and S4b beside 1,000,000 finished workflows: the worse share of the empty figure',
  unit: '%',
  operation: 'workflow, started and awaited beside the past',
  needs: ['workflows', 'queue', 'past'],
  goal: '≥ 90 %, list ≤ 5 ms',
  sizes: {
    full: {
      start: { warmUp: 1_000, workflows: 2_000, limitMs: 10_000 },
      drain: { warmUp: 1_000, jobs: 5_000, concurrency: 64 },
      past: 1_000_000,
      listings: 200,
    },
    quick: {
      start: { warmUp: 10, workflows: 50, limitMs: 2_000 },
      drain: { warmUp: 50, jobs: 200, concurrency: 64 },
      past: 2_000,
      listings: 20,
    },
  },
  acts: {
    start: (stage, { start: size }) => startAndResult(stage, size),
    drain: (stage, { drain: size }) => drain(stage, size),
    fill,
    list,
  },
  direct: async (director) => {
    const empty = await both(director);
    await director.play('fill');
    const full = await both(director);
    const { value: listMs } = await director.play('list');
    const startShare = (full.start.value * 100) / empty.start.value;
    const drainShare = (full.drain.value * 100) / empty.drain.value;
    return {
      ...full.start,
      value: Math.min(startShare, drainShare),
      also: {
        startShare,
        startPerS: full.start.value,
        drainShare,
        drainPerS: full.drain.value,
        ...(Number.isFinite(listMs) && { list50Ms: listMs }),
      },
    };
  },
};
