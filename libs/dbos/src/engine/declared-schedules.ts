/** The schedules that the code declares: collected before the launch, written at it. */
import { InvalidArgumentError, RegistrationError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { OutcomeCodec } from './outcome.js';
import type { QueueRegistry } from './queue-registry.js';
import { withStandingInputs } from './schedule-standing.js';
import type { WorkflowRegistry } from './registry.js';
import {
  assertScheduleQueue,
  defineSchedule,
  newSchedule,
  type DefinedSchedule,
  type ScheduleSpec,
} from './schedule-definition.js';

export interface DeclaredSchedulesParts {
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly queues: QueueRegistry;
  readonly codec: OutcomeCodec;
  readonly logger: Logger;
}

interface Declared extends DefinedSchedule {
  /** The method that declares it, for messages. */
  readonly origin: string;
}

export class DeclaredSchedules {
  private readonly declared = new Map<string, Declared>();

  constructor(private readonly parts: DeclaredSchedulesParts) {}

  /** @throws RegistrationError for a duplicate name */
  add(spec: ScheduleSpec, origin: string): void {
    const { name } = spec;
    const former = this.declared.get(name);
    if (former) {
      throw new RegistrationError(
        `${former.origin} and ${origin} both declare a schedule named "${name}". Give one of them another name: ` +
          "@Scheduled('…', { name: '…' }).",
      );
    }
    this.parts.registry.newest(spec.workflow);
    this.declared.set(name, { ...defineSchedule(spec, this.parts.codec.serializers), origin });
  }

  /** @throws InvalidArgumentError where the next launch would undo what is to be done */
  assertNotDeclared(name: string): void {
    const declared = this.declared.get(name);
    if (!declared) return;
    throw new InvalidArgumentError(
      `Schedule "${name}" is declared by @Scheduled() on ${declared.origin}: change it there. It can be paused, ` +
        'resumed and triggered at any time.',
    );
  }

  /**
   * Changed declarations update their rows, unchanged ones touch nothing. A row whose declaration is gone from this
   * code, while its workflow is not, is retired: kept, but fired no more until some code declares it again.
   */
  async write(): Promise<void> {
    const { repository, registry, queues, logger } = this.parts;
    const declared = [...this.declared.values()];
    for (const { definition } of declared) assertScheduleQueue(queues, definition.queue);
    const databaseNow = await repository.executors.databaseNow();
    const given = declared.map((defined) => newSchedule(defined, databaseNow));
    const schedules = await withStandingInputs(given, this.parts);
    const workflowNames = registry.callable();
    for (const name of await repository.schedules.declare({ schedules, workflowNames })) {
      logger.warn(
        `Schedule "${name}" is no longer declared here and rests until it is again. To be rid of it, delete it.`,
        { schedule: name },
      );
    }
  }
}
