/** Why a workflow may be where it is. */
import type { TerminalStatus } from '../core/status.js';
import type { LastStep } from '../repository/explanation-repository.js';
import type { WaitingReason } from './explanation-of-waiting.js';

/** What a workflow waits for a message for. */
export type AwaitedMessage =
  /** An empty topic: a message without one. */
  | { readonly kind: 'message'; readonly topic: string }
  /** The decision of a token, which the step with this id gave out. */
  | { readonly kind: 'decision'; readonly stepId: string }
  | { readonly kind: 'update'; readonly topic: string };

/** The last step that was recorded. */
export type LastStepReport = Pick<LastStep, 'stepId' | 'name' | 'completedAt'>;

/** Why a workflow is not progressing, or that it is. */
export type WorkflowReason =
  | WaitingReason
  | {
      readonly kind: 'ended';
      readonly outcome: Exclude<TerminalStatus, 'MAX_RECOVERY_ATTEMPTS_EXCEEDED'>;
      readonly at: Date | null;
      readonly error: string | null;
    }
  /** Its executor died too often while it ran. It goes on when it is resumed. */
  | {
      readonly kind: 'dead-lettered';
      readonly recoveryAttempts: number;
      readonly at: Date | null;
      readonly error: string | null;
      readonly lastStep: LastStepReport | undefined;
    }
  /** Its code does not match its history. It goes on with a deployment that does, or when it is resumed. */
  | { readonly kind: 'suspended'; readonly difference: string; readonly since: Date }
  /** Until one comes, or until the moment; null for as long as it takes. */
  | {
      readonly kind: 'waiting-for-message';
      readonly messages: readonly AwaitedMessage[];
      readonly until: Date | null;
      readonly since: Date;
    }
  /** `isCertain` false: it runs elsewhere, and the last that it did was to start this one. */
  | {
      readonly kind: 'waiting-for-workflow';
      readonly workflowId: string;
      readonly since: Date;
      readonly isCertain: boolean;
    }
  | {
      readonly kind: 'waiting-for-event';
      readonly workflowId: string;
      readonly key: string;
      readonly until: Date | null;
      readonly since: Date;
    }
  | { readonly kind: 'sleeping'; readonly until: Date }
  /** It has not begun: it was enqueued with a delay, or is put off as long as calls come. */
  | { readonly kind: 'delayed'; readonly until: Date; readonly isDebounced: boolean }
  /** It has failed, and its queue has it run again. */
  | {
      readonly kind: 'retrying';
      readonly until: Date;
      readonly failures: number;
      readonly error: string | null;
    }
  /** `recoveryDueAt`: when the others know at the latest. */
  | {
      readonly kind: 'owner-dead';
      readonly executorId: string;
      readonly lastHeartbeatAt: Date | null;
      readonly recoveryDueAt: Date;
    }
  /** In this process. `attempt` is the one that is under way, or that has failed last. */
  | {
      readonly kind: 'running-step';
      readonly stepId: string;
      readonly stepName: string;
      readonly attempt: number;
      readonly since: Date;
      readonly executorId: string;
    }
  /** Its code runs, here between two steps, or elsewhere, where only its last checkpoint is known. */
  | {
      readonly kind: 'running';
      readonly executorId: string;
      readonly host: { readonly hostname: string; readonly pid: number } | undefined;
      readonly lastStep: LastStepReport | undefined;
    };
