/** Transaction steps: tried until committed together with their checkpoint, or failed for good. */
import { wait, type Clock } from '../core/clock.js';
import { InvalidArgumentError, StepTimeoutError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { Logger } from '../core/logger.js';
import {
  LeaseInDoubtSignal,
  TransactionConflictError,
  TransactionExpiredError,
} from '../core/transaction-errors.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type {
  Lost,
  Standing,
  TransactionAttempt,
  TransactionEnd,
  TransactionRepository,
  TransactionSettings,
} from '../repository/transaction-repository.js';
import { AttemptContext } from './attempt-context.js';
import type { OperationReport } from './checkpoint.js';
import type { RunScope } from './run-scope.js';
import { shown } from '../core/shown.js';

export interface TransactionOptions extends Partial<TransactionSettings> {
  /**
   * How often the transaction is tried again after a serialization failure, a deadlock or a write conflict: 1 ms later,
   * then half as long again each time, up to 2 s. Default 1,000.
   */
  readonly maxRetries?: number;
}

/** A validated transaction step. */
export interface TransactionDefinition {
  readonly name: string;
  readonly settings: TransactionSettings;
  readonly maxRetries: number;
}

const DEFAULT_MAX_RETRIES = 1_000;
const LEVELS = ['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'];

/** @throws InvalidArgumentError naming the transaction and the option */
export function defineTransaction(
  name: string,
  options: TransactionOptions = {},
): TransactionDefinition {
  assertIdentifier('The name of a transaction', name);
  const { maxRetries = DEFAULT_MAX_RETRIES, readOnly = false, ...settings } = options;
  const { isolationLevel, timeoutMs, maxWaitMs } = settings;
  const check = (isUsable: boolean, option: string, value: unknown, expected: string): void => {
    if (isUsable) return;
    throw new InvalidArgumentError(
      `Transaction "${name}": ${option} must be ${expected}, not ${shown(value)}.`,
    );
  };
  const isTime = (ms?: number): boolean => ms === undefined || (Number.isFinite(ms) && ms > 0);
  const isCount = maxRetries === Infinity || (Number.isInteger(maxRetries) && maxRetries >= 0);
  const isLevel = isolationLevel === undefined || LEVELS.includes(isolationLevel);
  check(isTime(timeoutMs), 'timeoutMs', timeoutMs, 'a finite number above 0');
  check(isTime(maxWaitMs), 'maxWaitMs', maxWaitMs, 'a finite number above 0');
  check(isCount, 'maxRetries', maxRetries, 'a whole number of at least 0, or Infinity');
  check(isLevel, 'isolationLevel', isolationLevel, `one of ${LEVELS.join(', ')}`);
  check(typeof readOnly === 'boolean', 'readOnly', readOnly, 'true or false');
  return { name, settings: { ...settings, readOnly }, maxRetries };
}

/** What transactions are run with. */
export interface TransactionSurroundings {
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

/** One transaction of one run. */
export interface TransactionCall {
  readonly definition: TransactionDefinition;
  readonly stepId: string;
  readonly repository: TransactionRepository;
  /** The application's method, with the client of a try; resolves with its result encoded. */
  readonly body: (client: unknown, context: AttemptContext) => Promise<EncodedValue>;
}

/** A body that is too slow stays too slow; one that met a slow server does not. */
const MAX_EXPIRIES = 3;
const CONFLICT_PAUSE = { firstMs: 1, factor: 1.5, longestMs: 2_000 };
const FAULT_PAUSE = { firstMs: 20, factor: 2, longestMs: 2_000 };
/** How often one that finds no database is reported. */
const REPORT_EVERY = 20;

export class TransactionExecution {
  private readonly startedAt = performance.now();
  private readonly count = { attempts: 0, conflicts: 0, expiries: 0, faults: 0 };

  constructor(
    private readonly surroundings: TransactionSurroundings,
    private readonly scope: RunScope,
    private readonly call: TransactionCall,
  ) {}

  /** Resolves with the outcome that stands. */
  async settle(report: OperationReport): Promise<Standing> {
    const { run, sequence } = this.scope;
    for (;;) {
      report.attempts = this.count.attempts += 1;
      const end = await this.attempt();
      run.assertGoing(sequence); // interrupted meanwhile: nothing is made of it
      const settled = await this.settlementOf(end);
      if (settled?.result === 'standing') return settled;
      if (settled) throw await run.lost();
      const barrier = run.barrier(sequence, true); // a try is an effect like the first one
      if (barrier) await barrier;
    }
  }

  private async attempt(): Promise<TransactionEnd> {
    const { definition, repository, stepId, body } = this.call;
    const context = new AttemptContext(this.scope, stepId, definition.name, this.count.attempts);
    try {
      return await repository.commit(this.numbered, definition.settings, async (client) => {
        // It may have waited for a connection.
        this.scope.run.assertGoing(this.scope.sequence);
        if (!this.scope.run.mayAct) throw new LeaseInDoubtSignal();
        const { timeoutMs = repository.timeoutMs } = definition.settings;
        // Prisma rolls back in time, but waits for the body: one that hangs would keep its place for ever.
        return context.within(timeoutMs, this.surroundings, () => body(client, context));
      });
    } finally {
      context.end();
    }
  }

  private get numbered(): TransactionAttempt {
    const { definition, stepId } = this.call;
    const { owner, failures } = this.scope.run;
    const { startedAt } = this;
    return {
      owner,
      failures,
      stepId,
      name: definition.name,
      attempts: this.count.attempts,
      startedAt,
    };
  }

  /** Undefined when it is to be tried again, which is then due. */
  private settlementOf(end: TransactionEnd): Promise<Standing | Lost | undefined> {
    switch (end.result) {
      case 'standing':
      case 'lost':
        return Promise.resolve(end);
      case 'failed':
        return end.error instanceof StepTimeoutError
          ? this.afterExpiry(end.error)
          : this.fail(end.error);
      case 'conflict':
        return this.afterConflict(end.error);
      case 'expired':
        return this.afterExpiry(end.error);
      case 'unbegun':
        return this.afterFault(end.error);
      case 'unknown':
        return this.afterLoss(end.error);
      default:
        return end satisfies never;
    }
  }

  /** Not where another execution has committed meanwhile: then its outcome counts. */
  private fail(error: unknown): Promise<Standing | Lost> {
    const { repository } = this.call;
    return repository.fail(this.numbered, this.scope.run.codec.serializers.encodeError(error));
  }

  private async afterConflict(error: unknown): Promise<Standing | Lost | undefined> {
    const { name, maxRetries } = this.call.definition;
    this.count.conflicts += 1;
    if (this.count.conflicts > maxRetries)
      return this.fail(new TransactionConflictError(name, this.count.conflicts, error));
    // All of the pause is left to chance: those that were in each other's way must not come back together.
    await this.pause(CONFLICT_PAUSE, this.count.conflicts, this.surroundings.random());
    return undefined;
  }

  private async afterExpiry(error: unknown): Promise<Standing | Lost | undefined> {
    this.count.expiries += 1;
    if (this.count.expiries < MAX_EXPIRIES) return undefined;
    const { name } = this.call.definition;
    return this.fail(new TransactionExpiredError(name, this.count.expiries, error));
  }

  /** No fault of the database ends a workflow: it is waited out. */
  private async afterFault(error: unknown): Promise<undefined> {
    this.count.faults += 1;
    const { name } = this.call.definition;
    if (this.count.faults % REPORT_EVERY === 1) {
      this.surroundings.logger.warn(`Transaction "${name}" found no database and is tried again`, {
        workflowId: this.scope.run.id,
        stepId: this.call.stepId,
        step: name,
        faults: this.count.faults,
        error: error instanceof Error ? error.name : typeof error,
      });
    }
    await this.pause(FAULT_PAUSE, this.count.faults, 1);
    return undefined;
  }

  /** It may have been committed without our hearing of it. */
  private async afterLoss(error: unknown): Promise<Standing | undefined> {
    await this.afterFault(error);
    return this.call.repository.find(this.numbered);
  }

  private async pause(
    { firstMs, factor, longestMs }: typeof FAULT_PAUSE,
    count: number,
    share: number,
  ): Promise<void> {
    const { run, sequence } = this.scope;
    const end = run.presence.waitShort();
    try {
      const ms = Math.min(firstMs * factor ** Math.min(count - 1, 100), longestMs) * share;
      await wait(this.surroundings.clock, ms, sequence.signal);
    } finally {
      end();
    }
  }
}
