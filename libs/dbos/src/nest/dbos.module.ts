/** The module an application imports: puts the parts together and owns the lifecycle. */
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { DiscoveryModule, ModuleRef, ModulesContainer } from '@nestjs/core';
import { RegistrationError } from '../core/errors.js';
import type { QueueOptions } from '../core/queue.js';
import { redactingLogger } from '../core/redaction.js';
import { SerializerSet } from '../core/serialization/serializer.js';
import { Engine } from '../engine/engine.js';
import { PrismaCheckpointRepository } from '../prisma/prisma-checkpoint-repository.js';
import type { PrismaClientLike } from '../prisma/prisma-client.js';
import { CheckpointRepository } from '../repository/checkpoint-repository.js';
import { BootstrapGate } from './bootstrap-gate.js';
import { DbosCoreModule } from './dbos-core.module.js';
import { DbosHealth } from './dbos-health.js';
import { DbosLifecycle } from './dbos-lifecycle.js';
import {
  ASYNC_OPTIONS_TYPE,
  DBOS_OPTIONS,
  OPTIONS_TYPE,
  checkOptions,
  type DbosModuleOptions,
} from './dbos-options.js';
import { DrainFirst } from './drain-first.js';
import { errorRevival } from './error-revival.js';
import { NestEngineLogger } from './nest-logger.js';
import { whenMade } from './provider-made.js';
import { ScheduleService } from './schedule.service.js';
import { asyncQueueModule, queueModule, type QueueAsyncOptions } from './queue-module.js';
import { DbosMetrics } from './telemetry/dbos-metrics.js';
import { Telemetry } from './telemetry/telemetry.js';
import { WorkflowBinder } from './workflow-binder.js';
import { WorkflowContext } from './workflow-context.js';
import { WorkflowService } from './workflow.service.js';

const SERVICES: Provider[] = [
  {
    provide: CheckpointRepository,
    inject: [DBOS_OPTIONS, ModuleRef, ModulesContainer],
    useFactory: (options: DbosModuleOptions, container: ModuleRef, modules: ModulesContainer) =>
      checkpointRepository(options, container, modules),
  },
  {
    provide: Engine,
    inject: [DBOS_OPTIONS, CheckpointRepository],
    useFactory: (options: DbosModuleOptions, repository: CheckpointRepository) =>
      engine(options, repository),
  },
  WorkflowBinder,
  WorkflowService,
  WorkflowContext,
  ScheduleService,
  DbosHealth,
  DbosMetrics,
  Telemetry,
];

/** Apart from DbosModule, whose lifecycle must not come with every queue. */
@Module({})
export class QueueModule {}

@Module({})
export class DbosModule {
  /**
   * @example
   * ```ts
   * \@Module({ imports: [PrismaModule, DbosModule.forRoot({ prisma: PrismaService })] })
   * export class AppModule {}
   * ```
   */
  static forRoot(options: typeof OPTIONS_TYPE): DynamicModule {
    return withLifecycle(DbosCoreModule.forRoot({ ...options }));
  }

  static forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return withLifecycle(DbosCoreModule.forRootAsync(options));
  }

  /**
   * A queue, to be imported where it is used; `@InjectQueue('name')` injects it.
   * @throws InvalidArgumentError at once for unusable options
   *
   * @example
   * ```ts
   * \@Module({ imports: [DbosModule.registerQueue({ name: 'fulfilment', concurrency: 10 })] })
   * ```
   */
  static registerQueue(options: QueueOptions): DynamicModule {
    return queueModule(QueueModule, options);
  }

  /** A queue whose limits come from other providers. */
  static registerQueueAsync(options: QueueAsyncOptions): DynamicModule {
    return asyncQueueModule(QueueModule, options);
  }
}

/**
 * The services are global, the lifecycle is not: so bootstrap comes after the application's own hooks, and the drain
 * before its Prisma client is closed (`docs/architecture.md`, lifecycle).
 */
function withLifecycle(core: DynamicModule): DynamicModule {
  const services: DynamicModule = {
    ...core,
    providers: [...(core.providers ?? []), ...SERVICES],
    exports: [
      WorkflowService,
      WorkflowContext,
      ScheduleService,
      CheckpointRepository,
      DbosHealth,
      DbosMetrics,
      Telemetry,
      Engine,
      WorkflowBinder,
    ],
  };
  return {
    module: DbosModule,
    imports: [DiscoveryModule, services],
    providers: [BootstrapGate, DrainFirst, DbosLifecycle],
    exports: [services],
  };
}

function checkpointRepository(
  options: DbosModuleOptions,
  container: ModuleRef,
  modules: ModulesContainer,
): CheckpointRepository {
  const { prisma, statementTimeoutMs, sessionUrl, directStatements } = checkOptions(options);
  const { transactionClients = [] } = options;
  const { migrate = process.env['NODE_ENV'] !== 'production' } = options;
  const repository = new PrismaCheckpointRepository(() => prismaClient(container, prisma), {
    migrate,
    logger: redactingLogger(new NestEngineLogger(), options.redact),
    transactionClients: [...transactionClients, { prisma, separateDatabase: false }].map(
      ({ prisma: token, separateDatabase = false }) => ({
        token,
        client: () => prismaClient(container, token),
        separateDatabase,
      }),
    ),
    ...(statementTimeoutMs !== undefined && { statementTimeoutMs }),
    ...(sessionUrl !== undefined && { session: sessionUrl }),
    ...(directStatements !== undefined && { directStatements }),
  });
  // Many a client connects in its own onModuleInit, and its pool can be shared only before that.
  whenMade(modules, prisma, () => {
    try {
      repository.findDriver();
    } catch {
      // No client after all; the launch says so.
    }
  });
  return repository;
}

/** Wherever in the application it is provided. */
function prismaClient(container: ModuleRef, token: DbosModuleOptions['prisma']): PrismaClientLike {
  const name = typeof token === 'function' ? token.name : String(token);
  let client: Partial<PrismaClientLike>;
  try {
    client = container.get(token, { strict: false });
  } catch (error) {
    throw new RegistrationError(
      `DbosModule was given "${name}" as the Prisma client, but no module of this application provides it as a ` +
        'singleton. Add it to the providers of a module that the application imports.',
      { cause: error },
    );
  }
  if (typeof client?.$queryRaw === 'function' && typeof client.$transaction === 'function') {
    return client as PrismaClientLike;
  }
  throw new RegistrationError(
    `DbosModule was given "${name}" as the Prisma client, but what it provides has no $queryRaw() and $transaction(). ` +
      'Give the token of your PrismaService.',
  );
}

function engine(
  { errors = [], ...options }: DbosModuleOptions,
  repository: CheckpointRepository,
): Engine {
  const serializers = options.serializers ?? new SerializerSet({ revive: errorRevival(errors) });
  return new Engine({ ...options, serializers, logger: new NestEngineLogger() }, repository);
}
