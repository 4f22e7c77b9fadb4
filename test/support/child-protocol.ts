// What a test and the process it started say to each other.

export interface ChildSettings {
  readonly url: string;
  /** Where the ledger is, if not in the same database. */
  readonly ledgerUrl?: string;
  /** Default: a random one. */
  readonly executorId?: string;
  readonly leaseMs?: number;
  /** Whether the process holds the session by which others notice its death at once. Default false. */
  readonly session?: boolean;
  readonly maxConcurrentWorkflows?: number;
  readonly parkAfterMs?: number;
}

export type ChildCall =
  | {
      readonly what: 'start';
      readonly name: string;
      readonly workflowId: string;
      readonly args: readonly unknown[];
    }
  | { readonly what: 'result'; readonly workflowId: string }
  | { readonly what: 'stopAt' | 'goOnFrom'; readonly point: string };

export interface ToChild {
  readonly id: number;
  readonly call: ChildCall;
}

export type FromChild =
  | { readonly what: 'ready' }
  | { readonly what: 'failed'; readonly message: string; readonly code: string | undefined }
  | { readonly what: 'stopped'; readonly point: string }
  | { readonly what: 'answer'; readonly id: number; readonly value: unknown }
  | {
      readonly what: 'error';
      readonly id: number;
      readonly message: string;
      readonly code: string | undefined;
    };
