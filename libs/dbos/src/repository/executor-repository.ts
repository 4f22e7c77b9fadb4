/** Who is alive: the processes that run workflows, judged by the database. */

export interface ExecutorRegistration {
  /** Unique for each joining of a process. */
  readonly id: string;
  /** At most one live executor has it; undefined for none. */
  readonly name?: string;
  readonly leaseMs: number;
  readonly hostname: string;
  readonly pid: number;
  readonly applicationVersion?: string;
  /** Other versions that it may run. */
  readonly compatibleVersions?: readonly string[];
  /** Names of the workflows and queues that it takes up; absent: it does not say. */
  readonly workflows?: readonly string[];
  readonly queues?: readonly string[];
}

/** The executor that already uses a name. */
export interface ExecutorHolder {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly leaseEndsInMs: number;
}

export interface HeartbeatTerms {
  /** A heartbeat without an answer for this long is sent again, on another connection. */
  readonly withinMs: number;
  /**
   * Not for one that was itself cut off from the database: the others may have been as well. Asked at each sending, for
   * the cut may come between them.
   */
  readonly mayDeclare: () => boolean;
}

export interface Heartbeat {
  /** False when the executor was declared dead: it owns nothing any more. */
  readonly alive: boolean;
  /** The database's clock at the time of the heartbeat. */
  readonly databaseNow: Date;
  /** Executors that are dead and may still own workflows. */
  readonly dead: readonly string[];
  /** Whether another live executor hears notifications. */
  readonly hasAudience: boolean;
  /** Milliseconds until one whose session has ended will be dead, unless it shows itself alive; null for none. */
  readonly suspectInMs: number | null;
  /** Milliseconds until the next deadline of any workflow; null for none. */
  readonly nextDeadlineInMs: number | null;
}

export interface ExecutorRepository {
  /**
   * Enters the executor, and declares dead whoever had its name and is gone. While its name may still be in use by a
   * live process, it is not entered, and that holder is returned.
   */
  register(executor: ExecutorRegistration): Promise<ExecutorHolder | undefined>;

  /** Renews the lease and, where it may, declares dead those executors that are gone. */
  heartbeat(id: string, terms: HeartbeatTerms): Promise<Heartbeat>;

  /** Removes dead executors that own nothing any more. */
  bury(ids: readonly string[]): Promise<void>;

  /** Takes this executor off the list at a graceful stop. */
  remove(id: string): Promise<void>;

  /** The database's clock. */
  databaseNow(): Promise<Date>;
}
