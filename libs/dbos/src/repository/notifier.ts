/**
 * Wake-ups between processes. They are hints: whoever misses one finds out by polling, and correctness never rests on
 * one. Within a process the parts wake each other directly.
 */

export type Topic =
  /** Workflows wait that the sender cannot take. Subjects: names of queues. */
  | 'work'
  /** An executor has joined. */
  | 'executor'
  /** Something has come that workflows, or callers, wait for. Subjects: ids of the workflows it belongs to. */
  | 'arrival'
  /** Workflows were cancelled or deleted, which may be running. Subjects: their ids. */
  | 'cancel'
  /** Schedules have changed. */
  | 'schedule'
  /** Something was appended to streams, or their writers have ended. Subjects: ids of workflows. */
  | 'stream';

/** Whether notifications of others come in. */
export type Hearing =
  | 'listening'
  /** The session is being connected for the first time, or has not proved yet that it hears. */
  | 'connecting'
  /** The session has broken; it comes back by itself. */
  | 'lost'
  /** The session listens and hears nothing, as behind a transaction-mode pooler, or leads elsewhere. */
  | 'deaf'
  /** None was asked for, or there is none to be had. */
  | 'off';

export interface Notifier {
  readonly hearing: Hearing;

  /** Whether notifications of others come in; then polling may be rare. */
  readonly isListening: boolean;

  /**
   * Whether anybody else listens; whoever joins says so. While nobody is known to, nothing is sent, but made up for: a
   * listener whose session broke and came back is not known again at once.
   */
  hasAudience: boolean;

  /**
   * Calls `wake` when others notify of the topic, and when some of their notifications may have been missed.
   * @param wake with what they told of; without any subject: anything may have changed
   */
  subscribe(topic: Topic, wake: (subjects: ReadonlySet<string>) => void): void;

  /** Tells other processes, soon, many calls as one. Never waits, never throws. */
  notify(topic: Topic, subject?: string): void;

  /** Resolves once what is to be told has been told, or could not be. */
  flush(): Promise<void>;
}
