// What the supervisor and the processes it starts say to each other.

/** The work that the application knows, by the names of its workflows. */
export type WorkName = 'Chain' | 'Job' | 'Receiver' | 'Sender' | 'Poison' | 'Once' | Release;

/** What a version of the application adds to those before it. */
export type Release = `Release${number}`;

export interface AppSettings {
  /** Through the process's own proxy. */
  readonly url: string;
  /** The file of marks that this process appends to. */
  readonly ledger: string;
  readonly pool: number;
  readonly leaseMs: number;
  readonly schedules: boolean;
  /** Of the code: from 1. */
  readonly version: number;
}

/** What is asked of a process; each may be asked again, of another one. */
export type Order =
  | {
      readonly what: 'start';
      readonly name: WorkName;
      readonly id: string;
      readonly args: readonly unknown[];
    }
  | {
      readonly what: 'enqueue';
      readonly queue: string;
      readonly id: string;
      readonly args: readonly unknown[];
      readonly partitionKey?: string;
      readonly deduplicationId?: string;
    }
  | { readonly what: 'send'; readonly to: string; readonly value: number; readonly key: string };

export type ToApp =
  | { readonly what: 'go'; readonly settings: AppSettings }
  | { readonly what: 'order'; readonly n: number; readonly order: Order };

export type FromApp =
  | { readonly what: 'loaded' | 'ready' }
  | { readonly what: 'done'; readonly n: number; readonly id: string }
  | {
      readonly what: 'refused';
      readonly n: number;
      readonly code: string;
      readonly message: string;
    };
