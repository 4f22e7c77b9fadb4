// What a test and the process it started say to each other.
import type {
  DbosModuleOptions,
  ForkOptions,
  QueueLimits,
  QueueOptions,
  StartOptions,
} from 'nestjs-dbos';
import type { EnqueueItem } from '../../libs/dbos/src/engine/enqueuer.js';

export interface ChildSettings {
  readonly url: string;
  /** The database whose transactions steps are, if that is not the one with the workflow tables. */
  readonly applicationUrl?: string;
  /** Where the ledger is, if not in the same database. */
  readonly ledgerUrl?: string;
  /** Default: a random one. */
  readonly executorId?: string;
  readonly leaseMs?: number;
  /** Whether the process holds the session by which others notice its death at once. Default false. */
  readonly session?: boolean;
  readonly maxConcurrentWorkflows?: number;
  /** How far the clock of its host goes before the true time. Default 0. */
  readonly clockSkewMs?: number;
  readonly queues?: readonly QueueOptions[];
  /** As if `@opentelemetry/api` was not installed. */
  readonly withoutOpenTelemetry?: boolean;
  /** Whatever else the module is given. */
  readonly options?: Partial<
    Pick<
      DbosModuleOptions,
      | 'applicationVersion'
      | 'compatibleVersions'
      | 'listen'
      | 'parkAfterMs'
      | 'pollIntervalMs'
      | 'runWorkflows'
      | 'shutdown'
    >
  >;
}

/** What is done with a queue. */
export type QueueCall =
  | {
      readonly what: 'enqueue';
      readonly queue: string;
      readonly name: string;
      readonly item: EnqueueItem;
    }
  | {
      readonly what: 'enqueueMany';
      readonly queue: string;
      readonly name: string;
      readonly items: readonly EnqueueItem[];
    }
  | { readonly what: 'configure'; readonly queue: string; readonly limits: QueueLimits }
  | { readonly what: 'pause' | 'resume'; readonly queue: string }
  | {
      readonly what: 'setPriority';
      readonly workflowIds: readonly string[];
      readonly priority: number;
    };

export type ChildCall =
  | {
      readonly what: 'start';
      readonly name: string;
      readonly workflowId: string;
      readonly args: readonly unknown[];
      readonly options?: Pick<StartOptions, 'timeout'>;
    }
  | { readonly what: 'result'; readonly workflowId: string }
  | { readonly what: 'goOn'; readonly workflowIds: readonly string[] }
  | { readonly what: 'fork'; readonly originId: string; readonly options: ForkOptions }
  | { readonly what: 'cancel'; readonly workflowIds: readonly string[] }
  | {
      readonly what: 'setVersion';
      readonly workflowIds: readonly string[];
      readonly version: string;
    }
  | { readonly what: 'stopAt' | 'goOnFrom'; readonly point: string }
  | QueueCall;

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
