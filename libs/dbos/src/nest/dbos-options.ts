/** What an application configures. */
import { ConfigurableModuleBuilder, type InjectionToken } from '@nestjs/common';
import { InvalidArgumentError } from '../core/errors.js';
import type { EngineOptions } from '../engine/engine-options.js';
import type { ErrorClass } from './error-revival.js';

export interface DbosModuleOptions extends Omit<EngineOptions, 'logger'> {
  /** Injection token of the application's own Prisma client, usually its `PrismaService`. */
  readonly prisma: InjectionToken;
  /**
   * Applies pending migrations of the library's tables at start. Default: outside of production
   * (`NODE_ENV=production`); there, a schema that is behind fails the start and says what to do.
   */
  readonly migrate?: boolean;
  /**
   * Connection string for one session of its own (not through a transaction-mode pooler), by which notifications come in
   * and other processes notice within about two seconds when this one is gone; without it they poll, and wait for its
   * lease to run out. It must lead to the database of the Prisma client. Default: as the client's own pool connects, where
   * that is `pg`'s, else none; `false` does without.
   */
  readonly sessionUrl?: string | false;
  /** A statement without an answer for this long is given up and sent again. Default 10,000. */
  readonly statementTimeoutMs?: number;
  /**
   * Whether the engine's own statements go straight to the connection pool beneath the Prisma client, prepared, at a
   * third of the cost. It is the client's own pool, no second one; where it cannot be shared, the client is used: one
   * with an extension or a `$queryRaw` of its own, with another driver than `@prisma/adapter-pg`, or one that connects
   * in its constructor or factory rather than in `onModuleInit` or at its first query. Default true.
   */
  readonly directStatements?: boolean;
  /**
   * The clients whose transactions `@Transaction()` methods may be, the one by default first. Default: `prisma` alone,
   * which may always be asked for by its token.
   */
  readonly transactionClients?: readonly TransactionClientOptions[];
  /**
   * Error classes whose identity survives a checkpoint, so that `instanceof` holds for errors of steps. Others come
   * back as `Error` with their `name`, `code` and fields.
   */
  readonly errors?: readonly ErrorClass[];
  /**
   * Whether spans and metrics go to OpenTelemetry, where `@opentelemetry/api` is installed and an SDK was registered
   * before the application's bootstrap. Default true.
   */
  readonly telemetry?: boolean;
}

/** A client whose transactions steps may be. */
export interface TransactionClientOptions {
  /** Its injection token. */
  readonly prisma: InjectionToken;
  /**
   * Whether it leads to another database than the one with the workflow tables. Then a table there,
   * `dbos.transaction_completions`, says which steps were committed. Default false.
   */
  readonly separateDatabase?: boolean;
}

export interface DbosModuleExtras {
  /** Whether `WorkflowService` and its kin can be injected everywhere. Default true. */
  readonly isGlobal?: boolean;
}

export const {
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN: DBOS_OPTIONS,
  ASYNC_OPTIONS_TYPE,
  OPTIONS_TYPE,
} = new ConfigurableModuleBuilder<DbosModuleOptions>({ moduleName: 'Dbos' })
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createDbosOptions')
  .setExtras<DbosModuleExtras>({ isGlobal: true }, (definition, { isGlobal = true }) => ({
    ...definition,
    global: isGlobal,
  }))
  .build();

/** @throws InvalidArgumentError */
export function checkOptions(options: DbosModuleOptions | undefined): DbosModuleOptions {
  if (options?.prisma) return options;
  throw new InvalidArgumentError(
    'DbosModule needs the injection token of your Prisma client: DbosModule.forRoot({ prisma: PrismaService }).',
  );
}
