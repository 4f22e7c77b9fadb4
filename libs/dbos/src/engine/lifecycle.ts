/** What becomes of the workflows of this process, as it happens, for whoever listens; nobody does by default. */
import { cleanContext } from '../core/clean-context.js';
import type { Clock } from '../core/clock.js';

export type WorkflowEventType =
  /** Waits on a queue, or for a free slot. */
  | 'enqueued'
  /** Runs for the first time. */
  | 'started'
  /** Runs once more: woken, recovered, tried again or resumed. */
  | 'resumed'
  /** Sleeps in the database. */
  | 'parked'
  /** Failed, and is run again by its queue. */
  | 'retrying'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  /** Does not match its history. */
  | 'suspended'
  /** Was recovered too often. */
  | 'setAside'
  /** Goes on elsewhere: handed back at a shutdown, or taken over. */
  | 'left';

export interface WorkflowEvent {
  readonly type: WorkflowEventType;
  readonly workflowId: string;
  readonly workflowName: string;
  /** By the clock of this process. */
  readonly at: Date;
}

export interface LifecycleListener {
  next(event: WorkflowEvent): void;
  /** The engine was shut down. */
  complete(): void;
}

type Workflow = { readonly id: string; readonly name: string };

/** How a run ended, in the words of the executor: a status, the code of an interruption, or how else it left. */
const ENDINGS: Readonly<Record<string, WorkflowEventType>> = {
  SUCCESS: 'succeeded',
  ERROR: 'failed',
  DELAYED: 'retrying',
  SUSPENDED: 'suspended',
  MAX_RECOVERY_ATTEMPTS_EXCEEDED: 'setAside',
  DBOS_RUN_CANCELLED: 'cancelled',
  parked: 'parked',
};

/** @param how in the words of the executor */
export function endingOf(how: string): WorkflowEventType {
  return ENDINGS[how] ?? 'left';
}

export class Lifecycle {
  private readonly inCleanContext = cleanContext();
  private readonly listeners = new Set<LifecycleListener>();

  constructor(
    private readonly clock: Clock,
    /** The status of a workflow has changed here; told in any case. */
    private readonly onBegan: (workflowId: string) => void,
  ) {}

  /** How many listen. */
  get audience(): number {
    return this.listeners.size;
  }

  /** @returns ends the subscription */
  subscribe(listener: LifecycleListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** At shutdown: nothing more will happen here. */
  close(): void {
    for (const listener of this.listeners) listener.complete();
    this.listeners.clear();
  }

  enqueued(workflow: Workflow): void {
    this.emit('enqueued', workflow);
  }

  began(workflow: Workflow & { readonly epoch: number }): void {
    this.onBegan(workflow.id);
    this.emit(workflow.epoch === 1 ? 'started' : 'resumed', workflow);
  }

  ended(workflow: Workflow, how: string): void {
    this.emit(endingOf(how), workflow);
  }

  /** Not in the context of whoever caused it: a listener may start workflows of its own. */
  private emit(type: WorkflowEventType, { id, name }: Workflow): void {
    if (this.listeners.size === 0) return;
    const event = { type, workflowId: id, workflowName: name, at: new Date(this.clock.now()) };
    const listeners = [...this.listeners]; // who comes while they are told is not told
    this.inCleanContext(() => {
      for (const listener of listeners) listener.next(event);
    });
  }
}
