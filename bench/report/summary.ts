/** Medians over the rounds, and how they compare with the reference. */
import { REFERENCE, type ContestantName } from '../harness/contestant.js';
import type { PhaseResult } from '../harness/phase.js';
import type { Cost } from '../harness/reading.js';
import {
  isMoreBetter,
  loadScenario,
  median,
  type Sample,
  type ScenarioKey,
  type Unit,
} from '../harness/scenario.js';

export interface ScenarioSummary {
  readonly key: ScenarioKey;
  readonly title: string;
  readonly unit: Unit;
  readonly operation: string;
  readonly goal: string;
  readonly contestants: readonly ContestantSummary[];
}

export interface ContestantSummary {
  readonly name: ContestantName;
  readonly runs: number;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  /** How many times better than the reference; undefined when that was not measured. */
  readonly ratio: number | undefined;
  readonly p50Ms: number | undefined;
  readonly cost: Cost | undefined;
  readonly also: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

export async function summarise(results: readonly PhaseResult[]): Promise<ScenarioSummary[]> {
  const keys = [...new Set(results.map(({ scenario }) => scenario))];
  return Promise.all(
    keys.map(async (key) => {
      const { title, unit, operation, goal } = await loadScenario(key);
      const own = results.filter(({ scenario }) => scenario === key);
      return { key, title, unit, operation, goal, contestants: contestantsOf(own, unit) };
    }),
  );
}

function contestantsOf(results: readonly PhaseResult[], unit: Unit): ContestantSummary[] {
  const names = [...new Set(results.map(({ contestant }) => contestant))];
  const resultsOf = (name: ContestantName): PhaseResult[] =>
    results.filter(({ contestant }) => contestant === name);
  const reference = median(samplesOf(resultsOf(REFERENCE)).map(({ value }) => value));
  return names.map((name) => contestantSummary(name, resultsOf(name), { unit, reference }));
}

function contestantSummary(
  name: ContestantName,
  results: readonly PhaseResult[],
  { unit, reference }: { readonly unit: Unit; readonly reference: number },
): ContestantSummary {
  const samples = samplesOf(results);
  const values = samples.map(({ value }) => value);
  const value = median(values);
  const ratio = isMoreBetter(unit) ? value / reference : reference / value;
  const p50s = samples.flatMap(({ p50Ms }) => (p50Ms === undefined ? [] : [p50Ms]));
  return {
    name,
    runs: samples.length,
    value,
    min: Math.min(...values),
    max: Math.max(...values),
    ratio: Number.isFinite(ratio) ? ratio : undefined,
    p50Ms: p50s.length > 0 ? median(p50s) : undefined,
    cost: medianCost(samples.flatMap(({ cost }) => cost ?? [])),
    also: medianOfEach(samples.map(({ also }) => also ?? {})),
    failures: results.flatMap(({ failure }) => failure ?? []),
  };
}

function samplesOf(results: readonly PhaseResult[]): Sample[] {
  return results.flatMap(({ sample }) => sample ?? []);
}

function medianCost(costs: readonly Cost[]): Cost | undefined {
  if (costs.length === 0) return undefined;
  const postgres = costs.flatMap(({ postgresCpuUs }) => postgresCpuUs ?? []);
  return {
    statements: median(costs.map(({ statements }) => statements)),
    walBytes: median(costs.map(({ walBytes }) => walBytes)),
    nodeCpuUs: median(costs.map(({ nodeCpuUs }) => nodeCpuUs)),
    postgresCpuUs: postgres.length > 0 ? median(postgres) : undefined,
  };
}

function medianOfEach(
  records: ReadonlyArray<Readonly<Record<string, number>>>,
): Record<string, number> {
  const names = new Set(records.flatMap((record) => Object.keys(record)));
  return Object.fromEntries(
    [...names].map((name) => [name, median(records.flatMap((record) => record[name] ?? []))]),
  );
}
