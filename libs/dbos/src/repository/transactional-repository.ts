/** What can be written in a transaction of the application: the same transitions as outside of it, committed with it. */
import type { MessageRepository } from './message-repository.js';
import type { Topic } from './notifier.js';
import type { QueueRepository } from './queue-repository.js';
import type { TokenRepository } from './token-repository.js';
import type { WorkflowRepository } from './workflow-repository.js';

/** A method rejects with what the database says: it is for the owner of the transaction to try again. */
export interface TransactionalRepository {
  readonly workflows: Pick<WorkflowRepository, 'start' | 'startMany'>;
  readonly queues: Pick<QueueRepository, 'replaceWaiting'>;
  readonly messages: Pick<MessageRepository, 'send'>;
  readonly tokens: Pick<TokenRepository, 'find'>;

  /** Notifies all processes, this one too, in the moment of the commit. @param topics their subjects by topic */
  announce(topics: Partial<Record<Topic, readonly string[]>>): Promise<void>;
}
