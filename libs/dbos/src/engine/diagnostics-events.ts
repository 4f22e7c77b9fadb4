/** What is published on the diagnostics channels. The same object goes to `.start` and `.end`, so state can be kept by it. */
import type { WorkflowEventType } from './lifecycle.js';

/** What every event says of where it comes from. */
interface DiagnosticsOrigin {
  /** One engine of this process, for as long as it lives; two applications in one process have two. */
  readonly engineId: string;
  /** The id under which the process owned workflows then. */
  readonly executorId: string;
  readonly applicationVersion: string | undefined;
}

/** What has a beginning, an end and a body. */
export interface DiagnosticsSpan extends DiagnosticsOrigin {
  /** Of the workflow, the step, or the topic; topics of the library itself begin with a control character. */
  readonly name: string;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** Set when it has ended. */
  durationMs: number | undefined;
  /** What it failed with, as it was thrown. */
  error: unknown;
  /**
   * A subscriber of `.start` may set it: the body then runs within. It must call `work` once, at once, and give back what
   * that gives; who finds one set calls it within its own.
   */
  around: (<T>(work: () => T) => T) | undefined;
}

/** A call that makes workflows durable, or sends a message. */
export interface CallEvent extends DiagnosticsSpan {
  readonly kind: 'start' | 'enqueue' | 'send';
  /** The one it starts, or sends to; undefined until it is known, and for many. */
  workflowId: string | undefined;
  readonly queue: string | undefined;
  /** How many workflows or messages. */
  readonly count: number;
  /** What a subscriber of `call.start` puts here goes with the workflow to its runs (`RunEvent.carried`). */
  readonly carried: Record<string, string>;
}

/**
 * One run of a workflow in this process: from the call of its code to an outcome, or until it leaves. One whose code is not
 * called, as it was recovered too often or came too late, begins as it ends.
 */
export interface RunEvent extends DiagnosticsSpan {
  readonly workflowId: string;
  /** 1 for the first run. */
  readonly epoch: number;
  readonly recoveryAttempts: number;
  readonly queue: string | undefined;
  /** What came with the call that started it; empty where nothing did. */
  readonly carried: Readonly<Record<string, string>>;
  /** Set when it has ended. */
  outcome: WorkflowEventType | undefined;
}

/** A real execution of an operation of a workflow, never a replay. What is parked or hangs has no end. */
export interface StepEvent extends DiagnosticsSpan {
  /** `operation`: what the library records for itself, such as a sleep, a message, the start of a child. */
  readonly kind: 'step' | 'transaction' | 'operation';
  readonly workflowId: string;
  readonly workflowName: string;
  readonly epoch: number;
  readonly stepId: string;
  /** How often it was tried; set when it has ended. */
  attempts: number;
  /** Set when it has ended. */
  outcome: 'succeeded' | 'failed' | 'interrupted' | undefined;
}

/** An attempt failed, and another one comes. */
export interface StepRetryEvent {
  readonly step: StepEvent;
  /** The one that failed: 1 for the first. */
  readonly attempt: number;
  readonly error: unknown;
  readonly retryInMs: number;
}

/** The history had the outcome. */
export interface StepReplayEvent extends DiagnosticsOrigin {
  /** The run, where somebody heard of its start. */
  readonly run: RunEvent | undefined;
  readonly workflowId: string;
  readonly workflowName: string;
  readonly stepId: string;
  readonly name: string;
}

/** Workflows of dead executors that this process sent back to be claimed. */
export interface RecoveryEvent extends DiagnosticsOrigin {
  /** Of all the executors that were found dead together. */
  readonly deadExecutorIds: readonly string[];
  readonly workflows: ReadonlyArray<{ readonly id: string; readonly name: string }>;
}

/** What goes by each channel; its name is `nestjs-dbos:` and the key. */
export interface DiagnosticsEvents {
  'call.start': CallEvent;
  'call.end': CallEvent;
  'workflow.start': RunEvent;
  'workflow.end': RunEvent;
  'step.start': StepEvent;
  'step.end': StepEvent;
  'step.retry': StepRetryEvent;
  'step.replay': StepReplayEvent;
  'workflow.recovery': RecoveryEvent;
}
