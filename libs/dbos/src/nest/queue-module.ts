/** `DbosModule.registerQueue()`: makes a queue known to the engine, and injectable. */
import {
  Inject,
  type DynamicModule,
  type FactoryProvider,
  type ModuleMetadata,
  type Provider,
} from '@nestjs/common';
import { defineQueue, type QueueOptions } from '../core/queue.js';
import { Engine } from '../engine/engine.js';
import { Queue } from './queue.js';
import { WorkflowBinder } from './workflow-binder.js';

export interface QueueAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly name: string;
  readonly inject?: FactoryProvider['inject'];
  readonly useFactory: (
    ...args: never[]
  ) => Omit<QueueOptions, 'name'> | Promise<Omit<QueueOptions, 'name'>>;
}

/** The injection token of a queue; for tests and `app.get()`. */
export function getQueueToken(name: string): string {
  return `nestjs-dbos:queue:${name}`;
}

/**
 * Injects a queue that a module of the application registers.
 *
 * @example
 * ```ts
 * constructor(@InjectQueue('fulfilment') private readonly queue: Queue) {}
 * ```
 */
export function InjectQueue(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getQueueToken(name));
}

/** @param host the module class that the dynamic module is one of */
export function queueModule(host: DynamicModule['module'], options: QueueOptions): DynamicModule {
  const definition = defineQueue(options); // a wrong option shows where it is written
  return moduleOf(host, definition.name, {
    inject: [Engine, WorkflowBinder],
    useFactory: (engine: Engine, binder: WorkflowBinder) => register(engine, binder, options),
  });
}

export function asyncQueueModule(
  host: DynamicModule['module'],
  { name, imports = [], inject = [], useFactory }: QueueAsyncOptions,
): DynamicModule {
  const optionsOf = useFactory as (...args: unknown[]) => Promise<Omit<QueueOptions, 'name'>>;
  const module = moduleOf(host, name, {
    inject: [Engine, WorkflowBinder, ...inject],
    useFactory: async (engine: Engine, binder: WorkflowBinder, ...injected: unknown[]) =>
      register(engine, binder, { ...(await optionsOf(...injected)), name }),
  });
  return { ...module, imports };
}

function register(engine: Engine, binder: WorkflowBinder, options: QueueOptions): Queue {
  engine.queueRegistry.register(defineQueue(options));
  return new Queue(options.name, engine, binder);
}

function moduleOf(
  host: DynamicModule['module'],
  name: string,
  factory: Pick<FactoryProvider, 'inject' | 'useFactory'>,
): DynamicModule {
  const provider: Provider = { provide: getQueueToken(name), ...factory };
  return { module: host, providers: [provider], exports: [provider] };
}
