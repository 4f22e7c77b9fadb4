/** What the bench and the processes it spawns say to each other. */
import type { ContestantName } from './contestant.js';
import type { Counters } from './reading.js';
import type { ScenarioKey, Sample } from './scenario.js';

/** Handed over on the command line, as JSON. */
export interface Assignment {
  readonly contestant: ContestantName;
  readonly scenario: ScenarioKey;
  readonly act: string;
  readonly quick: boolean;
  readonly url: string;
  /** Where to write a CPU profile of the measured stretch. */
  readonly profile?: string;
}

export type Message =
  | { readonly kind: 'counters' }
  | { readonly kind: 'completed'; readonly sql: string }
  | { readonly kind: 'holding' }
  | { readonly kind: 'done'; readonly sample: Sample | undefined }
  | { readonly kind: 'failed'; readonly reason: string };

export type Answer =
  | { readonly kind: 'counters'; readonly counters: Counters }
  | { readonly kind: 'completed'; readonly count: number };
