/** One contestant in one scenario, once: on a fresh database, in fresh processes. */
import { loadavg } from 'node:os';
import { canPlay, type ContestantName } from './contestant.js';
import { Director } from './director.js';
import { loadScenario, type Sample, type ScenarioKey } from './scenario.js';
import type { BenchServer } from './server.js';

export interface PhaseResult {
  readonly scenario: ScenarioKey;
  readonly contestant: ContestantName;
  readonly round: number;
  /** Runnable processes of the machine in the last minute: what else was going on. */
  readonly loadBefore: number;
  readonly sample?: Sample;
  readonly failure?: string;
}

export interface PhasePlan {
  readonly scenario: ScenarioKey;
  readonly contestant: ContestantName;
  readonly round: number;
  readonly quick: boolean;
}

const DATABASE = 'bench_phase';

export async function runPhase(server: BenchServer, plan: PhasePlan): Promise<PhaseResult> {
  const { scenario, contestant, round, quick } = plan;
  const result = { scenario, contestant, round, loadBefore: loadavg()[0] ?? Number.NaN };
  await server.createDatabase(DATABASE);
  try {
    const { direct, sizes } = await loadScenario(scenario);
    const director = new Director(server, DATABASE, { contestant, scenario, quick });
    return { ...result, sample: await direct(director, quick ? sizes.quick : sizes.full) };
  } catch (error) {
    return { ...result, failure: error instanceof Error ? error.message : String(error) };
  } finally {
    await server.dropDatabase(DATABASE);
  }
}

/**
 * Round by round, and in each scenario one contestant after the other, beginning with another in each round; whoever
 * cannot play a scenario sits it out.
 */
export async function planOf(choice: {
  readonly scenarios: readonly ScenarioKey[];
  readonly contestants: readonly ContestantName[];
  readonly rounds: number;
  readonly quick: boolean;
}): Promise<PhasePlan[]> {
  const { scenarios, contestants, rounds, quick } = choice;
  const plan: PhasePlan[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const first = round % contestants.length;
    const order = [...contestants.slice(first), ...contestants.slice(0, first)];
    for (const scenario of scenarios) {
      const { needs } = await loadScenario(scenario);
      for (const contestant of order)
        if (canPlay(contestant, needs)) plan.push({ scenario, contestant, round, quick });
    }
  }
  return plan;
}
