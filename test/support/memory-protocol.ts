// What a test of memory asks of a process, and what that answers.

export type MemoryTask =
  /** Puts workflows to sleep for an hour: some before the first reading, `sleepers` between it and the second. */
  | { readonly what: 'sleep'; readonly warmUp: number; readonly sleepers: number }
  /** Runs a workflow whose steps return a mebibyte each; its last step is held for ever. */
  | { readonly what: 'carry'; readonly steps: number }
  /** Takes that workflow up again, up to its last step. */
  | { readonly what: 'carry on' };

export interface MemorySettings {
  readonly url: string;
  readonly task: MemoryTask;
}

/** Bytes, after everything that can be collected has been. */
export interface MemoryReading {
  readonly heap: number;
  readonly resident: number;
}

export interface MemoryReport {
  readonly before: MemoryReading;
  /** The most that was seen meanwhile. */
  readonly peak: MemoryReading;
  readonly after: MemoryReading;
}
