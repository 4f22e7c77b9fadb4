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
  /** Tells apart the processes that play at the same time. */
  readonly player: number;
  /** Where to write a CPU profile of the measured stretch. */
  readonly profile?: string;
}

export type Message =
  | { readonly kind: 'counters' }
  | { readonly kind: 'count'; readonly sql: string }
  | { readonly kind: 'run'; readonly statements: readonly string[] }
  | { readonly kind: 'holding' }
  | { readonly kind: 'call'; readonly call: Call }
  | { readonly kind: 'done'; readonly sample: Sample | undefined }
  | { readonly kind: 'failed'; readonly reason: string };

export type Answer =
  | { readonly kind: 'counters'; readonly counters: Counters }
  | { readonly kind: 'count'; readonly count: number }
  | { readonly kind: 'ran' };

/** What processes that play at the same time call out to all the others. */
export type Call =
  | { readonly says: 'ready' | 'listen' | 'end' }
  | { readonly says: 'begun'; readonly jobs: readonly Begun[] };

/** A job whose body has begun. */
export interface Begun {
  readonly index: number;
  /** By the clock that all processes of a machine share (`monotonicMs`). */
  readonly atMs: number;
}

/** What a process hears from the bench. */
export type Heard = Answer | { readonly kind: 'call'; readonly call: Call };
