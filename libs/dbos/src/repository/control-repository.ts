/** What is done to workflows from outside, each with a record of it in the same commit. */
import type { TimeLimit } from '../core/time-limit.js';

/** A workflow that was taken from whoever ran it, and the epoch up to which its runs are over. */
export interface EndedWorkflow {
  readonly id: string;
  readonly epoch: number;
}

/** Where workflows are to wait. */
export interface Place {
  readonly queue: string;
  readonly priority?: number;
  readonly partitionKey?: string;
}

/** Who asked, as far as that was told. */
export interface Asked {
  readonly by: string | null;
}

/** With all that they have started, and what those have. */
export interface Family extends Asked {
  readonly children: boolean;
}

/** The first step that is done anew: a position, the first of a name, or the last that failed. */
export type ForkPoint =
  { readonly position: number } | { readonly stepName: string } | { readonly lastFailure: true };

/** A workflow to begin where another stood. */
export interface NewFork extends Asked {
  readonly originId: string;
  readonly id: string;
  readonly from: ForkPoint;
  readonly action: 'forked' | 'restarted';
  /** Undefined: that of the origin. */
  readonly applicationVersion: string | undefined;
  /** Undefined: where the origin waited. */
  readonly place: Place | undefined;
  /** Undefined: the timeout of the origin, from the claim on. */
  readonly limit: TimeLimit | undefined;
}

export type Forking =
  /** Now, or by an earlier call. */
  | { readonly result: 'forked'; readonly name: string }
  /** There is no origin. */
  | { readonly result: 'unknown' }
  /** The origin has no step of this name. */
  | { readonly result: 'no step' }
  /** The new id belongs to a workflow of this name. */
  | { readonly result: 'taken'; readonly name: string; readonly originName: string };

/** What is unfinished, or set aside, of one version of the application. */
export interface VersionFilter {
  readonly applicationVersion: string;
  /** Of this name only. */
  readonly name?: string;
}

export interface Expiry {
  readonly expired: EndedWorkflow[];
  /** Milliseconds until the next deadline; not above 0 where somebody holds it up, null for none. */
  readonly nextInMs: number | null;
}

export type ActionKind =
  'cancelled' | 'timedOut' | 'resumed' | 'forked' | 'restarted' | 'deleted' | 'versionSet';

/** One thing that was done to a workflow. */
export interface ActionRecord {
  readonly workflowId: string;
  readonly action: ActionKind;
  readonly by: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
  readonly at: Date;
}

export interface ControlRepository {
  /** Ends every given workflow that has no outcome yet as CANCELLED; returns those that it changed. */
  cancel(ids: readonly string[], family: Family): Promise<EndedWorkflow[]>;

  /** Ends workflows as CANCELLED whose deadlines have passed by the database's clock, at most so many. */
  expire(atMost: number): Promise<Expiry>;

  /**
   * Sends every given workflow that has neither succeeded nor failed back to ENQUEUED, with a fresh budget of recoveries.
   * @param place undefined: where it waited before
   */
  resume(ids: readonly string[], place: Place | undefined, asked: Asked): Promise<string[]>;

  /** Writes new workflows with what others had recorded before a step; says what became of each, in order. */
  fork(forks: readonly NewFork[]): Promise<Forking[]>;

  /** Removes workflows with everything of theirs; returns those that there were. */
  delete(ids: readonly string[], family: Family): Promise<EndedWorkflow[]>;

  /** Moves those to another version that nobody owns and that have no outcome; returns those that it moved. */
  setVersion(
    target: readonly string[] | VersionFilter,
    version: string,
    asked: Asked,
  ): Promise<string[]>;

  /** What was done to a workflow, in order, the last so many of it. */
  actions(id: string, atMost: number): Promise<ActionRecord[]>;
}
