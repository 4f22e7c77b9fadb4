/** Where transactions begin, and the client of the one that is open around the calling code. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { ForbiddenInStepError } from '../core/errors.js';
import { NotInTransactionError } from '../core/transaction-errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { TransactionRepository } from '../repository/transaction-repository.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { Interceptors } from './interceptors.js';
import type { OutcomeCodec } from './outcome.js';
import type { RunScope, RunScopes } from './run-scope.js';
import {
  TransactionExecution,
  type TransactionDefinition,
  type TransactionSurroundings,
} from './transaction.js';

export interface TransactionsParts extends TransactionSurroundings {
  readonly repository: CheckpointRepository;
  readonly scopes: RunScopes;
  readonly codec: OutcomeCodec;
  readonly interceptors: Interceptors;
}

interface OpenTransaction {
  readonly client: unknown;
  readonly name: string;
}

export class Transactions {
  private readonly open = new AsyncLocalStorage<OpenTransaction>();

  constructor(private readonly parts: TransactionsParts) {}

  /** The client of the transaction that is open here. @throws NotInTransactionError */
  get client(): unknown {
    const { client } = this.open.getStore() ?? {};
    if (client === undefined) throw new NotInTransactionError();
    return client;
  }

  /** @throws RegistrationError when the application has not said whose client this is */
  assertKnown(clientToken: unknown): void {
    this.parts.repository.transactions(clientToken);
  }

  /** Whether this is the client of the transaction that is open here. */
  isOpen(client: unknown): boolean {
    return this.open.getStore()?.client === client;
  }

  /**
   * In a workflow a step whose checkpoint is part of the transaction; elsewhere a plain transaction.
   * @param clientToken whose transaction it is; undefined for the one by default
   * @throws ForbiddenInStepError inside of a step or of another transaction
   */
  async run<T>(
    definition: TransactionDefinition,
    clientToken: unknown,
    body: () => T | Promise<T>,
  ): Promise<T> {
    const { name, settings } = definition;
    const what = `Transaction "${name}"`;
    const outer = this.open.getStore();
    if (outer) throw new ForbiddenInStepError(what, outer.name);
    const scope = this.parts.scopes.outsideSteps(what);
    const repository = this.parts.repository.transactions(clientToken);
    const within = (client: unknown, work = body): Promise<T> =>
      this.open.run({ client, name }, async () => work());
    if (!scope) return repository.plain(settings, (client) => within(client));
    return checkpoint<T>(scope, {
      name,
      kind: 'transaction',
      produce: (stepId, report) =>
        this.settle(scope, { definition, repository, stepId, within, body }, report),
    });
  }

  private async settle<T>(
    scope: RunScope,
    call: {
      readonly definition: TransactionDefinition;
      readonly repository: TransactionRepository;
      readonly stepId: string;
      readonly body: () => T | Promise<T>;
      readonly within: (client: unknown, work: () => T | Promise<T>) => Promise<T>;
    },
    report: OperationReport,
  ): Promise<T> {
    const { scopes, codec, interceptors } = this.parts;
    const { definition, within, body: method } = call;
    const intercepted = { run: scope.run, kind: 'transaction' } as const;
    const execution = new TransactionExecution(this.parts, scope, {
      ...call,
      body: async (client, context) => {
        const work = (): T | Promise<T> => interceptors.aroundStep(intercepted, context, method);
        const result = await scopes.enter({ ...scope, step: context }, () => within(client, work));
        return codec.serializers.encode(result, `result of ${definition.name}`);
      },
    });
    const { outcome, isCheckpoint } = await execution.settle(report);
    if (!isCheckpoint) return codec.recalled<T>(outcome).unwrap();
    report.recorded = outcome;
    return undefined as T; // what is recorded is what the workflow gets
  }
}
