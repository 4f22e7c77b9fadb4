/** Who is alive: the processes that run workflows, judged by the database's clock. */

export interface ExecutorRegistration {
  readonly id: string;
  /** Unique for each start of a process, so that two processes with one id are told apart. */
  readonly incarnation: string;
  readonly leaseMs: number;
  readonly hostname: string;
  readonly pid: number;
  readonly applicationVersion?: string;
}

/** The live process that already uses an id. */
export interface ExecutorHolder {
  readonly hostname: string;
  readonly pid: number;
  readonly incarnation: string;
  readonly leaseEndsInMs: number;
}

export interface Heartbeat {
  /** False when the executor was declared dead (or replaced): it owns nothing any more. */
  readonly alive: boolean;
  /** The database's clock at the time of the heartbeat. */
  readonly databaseNow: Date;
  /** Executors that are dead and may still own workflows. */
  readonly dead: readonly string[];
}

export interface ExecutorRepository {
  /** Enters the executor unless a live process holds its id; then returns that holder. */
  register(executor: ExecutorRegistration): Promise<ExecutorHolder | undefined>;

  /** Renews the lease and declares dead those executors whose lease has run out. */
  heartbeat(executor: { readonly id: string; readonly incarnation: string }): Promise<Heartbeat>;

  /** Removes dead executors that own nothing any more. */
  bury(ids: readonly string[]): Promise<void>;

  /** Takes this executor off the list at a graceful stop. */
  remove(executor: { readonly id: string; readonly incarnation: string }): Promise<void>;

  /** The database's clock. */
  databaseNow(): Promise<Date>;
}
