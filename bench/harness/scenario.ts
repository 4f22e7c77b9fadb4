/** What a scenario is: acts that each play in a fresh process, and the direction that puts them in order. */
import type { Skill } from './contestant.js';
import type { Director } from './director.js';
import type { Cost } from './reading.js';
import type { Stage } from './stage.js';

export interface Scenario<Size = never> {
  readonly title: string;
  readonly unit: Unit;
  /** What one operation of the costs is. */
  readonly operation: string;
  /** What a contestant must be able to do to play it. */
  readonly needs: readonly Skill[];
  /** Where ours is to stand, as a ratio to DBOS or as a value. */
  readonly goal: string;
  readonly sizes: { readonly full: Size; readonly quick: Size };
  readonly acts: Readonly<Record<string, (stage: Stage, size: Size) => Promise<Sample | void>>>;
  readonly direct: (director: Director, size: Size) => Promise<Sample>;
}

/** `%` is a share of what the same contestant does under better conditions. */
export type Unit = '/s' | '%' | 'ms' | 'B';

/** Of rates and shares more is better, of the others less. */
export function isMoreBetter(unit: Unit): boolean {
  return unit === '/s' || unit === '%';
}

/** What one phase has measured. */
export interface Sample {
  readonly value: number;
  readonly cost?: Cost;
  /** Median latency of one operation. */
  readonly p50Ms?: number;
  /** Further figures, by name. */
  readonly also?: Readonly<Record<string, number>>;
}

export const SCENARIOS = [
  'S1',
  'S2',
  'S3',
  'S4a',
  'S4a-batch',
  'S4b',
  'S4c',
  'S4c-remote',
  'S5',
  'S6a',
  'S6b',
  'S7',
  'S8',
  'S9',
  'S10',
  'S11',
] as const;

export type ScenarioKey = (typeof SCENARIOS)[number];

export async function loadScenario(key: ScenarioKey): Promise<Scenario> {
  const module = (await import(`../scenarios/${key.toLowerCase()}.js`)) as {
    readonly scenario: Scenario;
  };
  return module.scenario;
}

/** The one act of a scenario that plays in one process. */
export async function playOneAct(director: Director): Promise<Sample> {
  return director.play('main');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}
