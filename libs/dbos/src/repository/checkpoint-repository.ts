/**
 * Everything durable: the port between the engine and a database. Each method is one durable transition or one
 * read, takes one object where it takes more than an id, and is one statement of SQL.
 *
 * Infrastructure faults (a lost connection, a restart, a full disk) are the repository's business: a method waits
 * them out and only rejects for what the caller did, or when the repository is closed.
 */
import type { OpenTransaction } from '../core/open-transaction.js';
import type { CompletionRepository } from './completion-repository.js';
import type { ControlRepository } from './control-repository.js';
import type { ArchiveRepository } from './archive-repository.js';
import type { EventRepository } from './event-repository.js';
import type { ExecutorRepository } from './executor-repository.js';
import type { ExplanationRepository } from './explanation-repository.js';
import type { ListingRepository } from './listing-repository.js';
import type { MessageRepository } from './message-repository.js';
import type { Notifier } from './notifier.js';
import type { QueueRepository } from './queue-repository.js';
import type { RetentionRepository } from './retention-repository.js';
import type { ScheduleRepository } from './schedule-repository.js';
import type { StepRepository } from './step-repository.js';
import type { StreamRepository } from './stream-repository.js';
import type { TokenRepository } from './token-repository.js';
import type { TransactionRepository } from './transaction-repository.js';
import type { TransactionalRepository } from './transactional-repository.js';
import type { WorkflowRepository } from './workflow-repository.js';

/** Injectable as is: `constructor(private readonly checkpoints: CheckpointRepository)`. */
export abstract class CheckpointRepository {
  abstract readonly workflows: WorkflowRepository;
  abstract readonly control: ControlRepository;
  abstract readonly steps: StepRepository;
  abstract readonly queues: QueueRepository;
  abstract readonly executors: ExecutorRepository;
  abstract readonly schedules: ScheduleRepository;
  abstract readonly streams: StreamRepository;
  abstract readonly messages: MessageRepository;
  abstract readonly events: EventRepository;
  abstract readonly tokens: TokenRepository;
  abstract readonly completions: CompletionRepository;
  abstract readonly listings: ListingRepository;
  abstract readonly explanations: ExplanationRepository;
  abstract readonly retention: RetentionRepository;
  abstract readonly archives: ArchiveRepository;
  /**
   * Transactions of one of the application's clients.
   * @param token the client's; undefined for the one by default
   * @throws RegistrationError when the repository was not told of it
   */
  abstract transactions(token?: unknown): TransactionRepository;

  /** What is written there is part of a transaction of the application that is open. */
  abstract within(transaction: OpenTransaction): TransactionalRepository;

  /** Not durable, and apart from the rest. */
  abstract readonly notifier: Notifier;

  /** Makes the tables ready, or verifies that they are. */
  abstract prepare(): Promise<void>;

  /** One round trip to the database, not retried: rejects when it does not answer. */
  abstract ping(): Promise<void>;

  /** Ends waiting statements: from now on a fault of the infrastructure rejects instead of being waited out. */
  abstract close(): Promise<void>;
}
