/** The queues this application registers, and how much of each is at work in this process. */
import { isDeepStrictEqual } from 'node:util';
import { UnknownQueueError } from '../core/queue-errors.js';
import { RegistrationError } from '../core/errors.js';
import type { QueueDefinition } from '../core/queue.js';
import type { ListenedQueue } from '../repository/queue-repository.js';

/** Who is told when there may be room again in a queue. */
export interface QueueListener {
  /** Code of the queue is over here; the database may still show it at work. */
  queueLeft(queue: string): void;
  /** The database shows it no more. */
  queueFreed(queue: string): void;
}

export class QueueRegistry {
  private readonly definitions = new Map<string, QueueDefinition>();
  private readonly running = new Map<string, number>();
  private turn = 0;
  private closed = false;

  /**
   * @param listensTo the queues to claim from; undefined for all that are registered
   * @param listener what is told when something of a queue has ended here
   */
  constructor(
    private readonly listensTo: readonly string[] | undefined,
    private readonly listener: QueueListener,
  ) {}

  /** @throws RegistrationError when it was registered with other options, and after `close()` */
  register(definition: QueueDefinition): void {
    const { name } = definition;
    if (this.closed) {
      throw new RegistrationError(
        `Queue "${name}" was registered after the engine was launched. Register it before.`,
      );
    }
    const former = this.definitions.get(name);
    if (former && !isDeepStrictEqual(former, definition)) {
      throw new RegistrationError(
        `Queue "${name}" is registered twice, with different options. Register it in one module and import that ` +
          'where it is used.',
      );
    }
    this.definitions.set(name, definition);
  }

  /**
   * From the launch on the set is fixed.
   * @throws RegistrationError when `listen` names a queue that is not registered
   */
  close(): void {
    for (const name of this.listensTo ?? []) {
      if (this.definitions.has(name)) continue;
      throw new RegistrationError(
        `listen names the queue "${name}", which is not registered. Import DbosModule.registerQueue({ name: '${name}' }).`,
      );
    }
    this.closed = true;
  }

  /** @throws UnknownQueueError */
  get(name: string): QueueDefinition {
    const definition = this.definitions.get(name);
    if (!definition) throw new UnknownQueueError(name);
    return definition;
  }

  /** What the code knows of a queue that a row names; another version of the application may know more. */
  find(name: string | null): QueueDefinition | undefined {
    return name === null ? undefined : this.definitions.get(name);
  }

  all(): QueueDefinition[] {
    return [...this.definitions.values()];
  }

  /** Whether this process claims from the queue. */
  hears(name: string): boolean {
    return this.listensTo?.includes(name) ?? this.definitions.has(name);
  }

  /** The names of the queues that this process claims from. */
  heard(): string[] {
    return this.listensTo ? [...this.listensTo] : [...this.definitions.keys()];
  }

  /** What to claim from, each time beginning with another queue, so that a full one starves none. */
  listening(): ListenedQueue[] {
    const names = this.heard();
    const first = names.length > 0 ? this.turn++ % names.length : 0;
    return [...names.slice(first), ...names.slice(0, first)].map((queue) => ({
      queue,
      running: this.running.get(queue) ?? 0,
    }));
  }

  began(queue: string | null): void {
    if (queue !== null) this.running.set(queue, (this.running.get(queue) ?? 0) + 1);
  }

  /** Its code is over, and counts no more against what one process may have at work. */
  left(queue: string | null): void {
    if (queue === null) return;
    this.running.set(queue, (this.running.get(queue) ?? 1) - 1);
    this.listener.queueLeft(queue);
  }

  /** After `left`: its outcome stands, or it is another's. */
  ended(queue: string | null): void {
    if (queue !== null) this.listener.queueFreed(queue);
  }
}
