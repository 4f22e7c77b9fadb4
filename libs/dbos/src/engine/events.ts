/** Events: what a workflow lets others know while it runs, by keys of which each has one value at a time. */
import { momentMs, type Duration } from '../core/duration.js';
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { named, validated, type EventKey } from '../core/schema.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { EventAddress, EventReading } from '../repository/event-repository.js';
import type { Notifier } from '../repository/notifier.js';
import type { ArrivalWatch } from './arrival-watch.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import type { OutcomeCodec } from './outcome.js';
import type { Patience } from './patience.js';
import type { RunScope, RunScopes } from './run-scope.js';
import { givenOptions } from '../core/given.js';

export interface GetEventOptions {
  /** How long to wait for an event that has not been set. Default: a minute. */
  readonly timeout?: Duration;
}

export interface EventsParts {
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly scopes: RunScopes;
  readonly patience: Patience;
  readonly notifier: Notifier;
  readonly time: DatabaseTime;
  readonly arrivals: ArrivalWatch;
}

/** What has been read: a value, or why there is none. */
export interface Reading<T> {
  readonly value: T | undefined;
  /** The workflow has ended, so that there will be none. */
  readonly isOver: boolean;
}

/** An event that is to be set. */
interface Publication {
  /** The name of the step. */
  readonly name: string;
  readonly key: string;
  readonly encode: () => EncodedValue | Promise<EncodedValue>;
}

interface EventWanted<T, R> {
  readonly event: EventAddress;
  /** The name of the step. */
  readonly name: string;
  /** Epoch milliseconds. */
  readonly untilMs: number;
  /** What is recorded of the reading. */
  readonly take: (reading: Reading<T>) => R;
}

/** The steps of a reading, taken before any await. */
interface ReadingIds {
  readonly deadlineId: string;
  readonly stepId: string;
}

export const DEFAULT_TIMEOUT_MS = 60_000;
const DEADLINE = 'workflows.getEvent deadline';

export class Events {
  constructor(private readonly parts: EventsParts) {}

  /** The value stands in the same commit as the checkpoint, which leaves with others: nothing waits for it here. */
  async set(keyOrName: string | EventKey, value: unknown): Promise<void> {
    const scope = this.parts.scopes.require('flow.setEvent()');
    const { name: key, schema } = checkedKey(keyOrName);
    const name = `flow.setEvent ${key}`;
    if (value === undefined) {
      throw new InvalidArgumentError(
        'An event must not be undefined, which is what getEvent() gives when it was not set. Set null.',
      );
    }
    const { serializers } = this.parts.codec;
    if (!schema) {
      const encoded = serializers.encode(value, 'event');
      return this.publish(scope, { name, key, encode: () => encoded });
    }
    const encode = async (): Promise<EncodedValue> =>
      serializers.encode(await validated(schema, value, `event "${key}"`), 'event');
    return this.publish(scope, { name, key, encode });
  }

  /** The value stands in the same commit as the checkpoint. */
  async publish(scope: RunScope, { name, key, encode }: Publication): Promise<void> {
    const workflowId = scope.run.id;
    const produce = async (_stepId: string, report: OperationReport): Promise<void> => {
      const value = await encode();
      report.event = { key, value };
      report.onDurable = () => this.tell({ workflowId, key }, value);
    };
    await checkpoint(scope, { name, effect: false, produce });
  }

  private tell({ workflowId, key }: EventAddress, value: EncodedValue): void {
    this.parts.arrivals.arrived({ kind: 'event', workflowId, name: key }, value);
    this.parts.notifier.notify('arrival', workflowId);
  }

  /**
   * The value of an event, or undefined when it was not set in time, or the workflow ended without setting it. In a
   * workflow two step ids: a replay sees the same value, whatever has been set since.
   */
  async get<T>(
    workflowId: string,
    keyOrName: string | EventKey<unknown, T>,
    options: GetEventOptions = {},
  ): Promise<T | undefined> {
    const { scopes, time } = this.parts;
    givenOptions('getEvent()', options);
    const key = checkedKey(keyOrName).name;
    const event = { workflowId: assertIdentifier('A workflow id', workflowId), key };
    const timeout = options.timeout ?? DEFAULT_TIMEOUT_MS;
    const untilMs = momentMs('The timeout of getEvent()', timeout, time.nowMs());
    const scope = scopes.outsideSteps('Waiting for an event');
    const name = `workflows.getEvent ${key}`;
    const valueOf = ({ value }: Reading<T>): T | undefined => value;
    if (!scope) return valueOf(await this.read<T>(event, untilMs));
    return this.readFrom(scope, { event, name, untilMs, take: valueOf }, takeIds(scope));
  }

  /** As an operation of a workflow. */
  async readFrom<T, R>(
    scope: RunScope,
    { event, name, untilMs, take }: EventWanted<T, R>,
    { deadlineId, stepId }: ReadingIds,
  ): Promise<R> {
    const { run, sequence } = scope;
    const deadline = { name: DEADLINE, effect: false, produce: () => untilMs };
    const deadlineMs = await checkpoint(scope, deadline, deadlineId);
    const produce = async (_stepId: string, report: OperationReport): Promise<R> => {
      report.awaits = { kind: 'event', ...event, untilMs: deadlineMs };
      const end = run.presence.waitYielding();
      try {
        return take(await this.read<T>(event, deadlineMs, sequence.signal));
      } finally {
        end();
      }
    };
    return checkpoint(scope, { name, produce }, stepId);
  }

  /** Looks and waits in turns. */
  async read<T>(event: EventAddress, untilMs: number, signal?: AbortSignal): Promise<Reading<T>> {
    const { arrivals, codec, time } = this.parts;
    const { workflowId, key } = event;
    const waiting = arrivals.register({ kind: 'event', workflowId, name: key });
    try {
      for (let isTimeUp = untilMs <= time.nowMs(); ;) {
        waiting.arm(); // before the look, or what comes between look and wait would be missed
        const { value, isOver } = await this.look(event, signal);
        if (value) return { value: codec.serializers.decode(value) as T, isOver };
        if (isOver || isTimeUp) return { value: undefined, isOver };
        const withinMs = Math.max(0, untilMs - time.nowMs());
        isTimeUp = !(await waiting.wait({ withinMs, ...(signal && { signal }) }));
        const { brought } = waiting;
        if (brought) return { value: codec.serializers.decode(brought) as T, isOver: false };
      }
    } finally {
      waiting.end();
    }
  }

  /** Workflows wait for a database that is away as long as it takes; others do not. */
  private look(event: EventAddress, signal: AbortSignal | undefined): Promise<EventReading> {
    const { patience, repository } = this.parts;
    const reading = repository.events.latest(event);
    if (signal) return reading;
    return patience.with(
      reading,
      `Event "${event.key}" of workflow "${event.workflowId}"`,
      'Try again.',
    );
  }
}

export function takeIds({ sequence }: RunScope): ReadingIds {
  return { deadlineId: sequence.takeId(), stepId: sequence.takeId() };
}

function checkedKey(key: string | EventKey): ReturnType<typeof named> {
  const given = named(key);
  assertIdentifier('The key of an event', given.name);
  return given;
}
