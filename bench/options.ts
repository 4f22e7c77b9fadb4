/** The command line. */
import { parseArgs } from 'node:util';
import { CONTESTANTS, type ContestantName } from './harness/contestant.js';
import { SCENARIOS, type ScenarioKey } from './harness/scenario.js';

export interface Options {
  readonly scenarios: readonly ScenarioKey[];
  readonly contestants: readonly ContestantName[];
  readonly rounds: number;
  /** Tiny counts: to see that everything works, not to measure. */
  readonly quick: boolean;
  readonly json: string | undefined;
}

const MAX_ROUNDS = 99;

/** @throws Error naming what may be chosen */
export function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenarios: { type: 'string' },
      contestants: { type: 'string' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= MAX_ROUNDS))
    throw new Error(`--rounds must be a whole number from 1 to ${MAX_ROUNDS}.`);
  return {
    scenarios: chosen('--scenarios', values.scenarios, SCENARIOS),
    contestants: chosen('--contestants', values.contestants, CONTESTANTS),
    rounds,
    quick: values.quick,
    json: values.json,
  };
}

export interface ProfileOptions {
  readonly scenario: ScenarioKey;
  readonly contestant: ContestantName;
  readonly quick: boolean;
}

/** @throws Error naming what may be chosen */
export function profileOptionsOf(args: readonly string[]): ProfileOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      contestant: { type: 'string', default: 'ours' },
      quick: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const [scenario] = chosen('The scenario', positionals.join(','), SCENARIOS);
  const [contestant] = chosen('--contestant', values.contestant, CONTESTANTS);
  if (!scenario || !contestant) throw new Error('One scenario and one contestant, please.');
  return { scenario, contestant, quick: values.quick };
}

function chosen<T extends string>(
  option: string,
  list: string | undefined,
  all: readonly T[],
): readonly T[] {
  if (list === undefined) return all;
  const names = list.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !all.some((known) => known === name));
  if (unknown.length > 0)
    throw new Error(`${option}: no ${unknown.join(', ')}; there are ${all.join(', ')}.`);
  return all.filter((name) => names.includes(name));
}
