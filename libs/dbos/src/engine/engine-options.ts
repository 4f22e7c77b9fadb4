/** The settings of an engine: their meaning, defaults, limits and checks, in one place. */
import { SystemClock, type Clock } from '../core/clock.js';
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { SILENT_LOGGER, type Logger } from '../core/logger.js';
import { redactingLogger, type Redact } from '../core/redaction.js';
import { SerializerSet, type PayloadCodec } from '../core/serialization/serializer.js';
import { ApplicationVersion } from './application-version.js';
import { ContextCarriers, type ContextCarrier } from './context-carriers.js';
import { ExecutorIdentity } from './executor-identity.js';
import { retentionRules, type RetentionOptions } from './retention-rules.js';
import { shown } from '../core/shown.js';
import { givenList, givenOptions } from '../core/given.js';

export interface ShutdownTimes {
  /** How long running workflows may go on after the shutdown has begun. Default 0. */
  readonly drainMs: number;
  /** How long step bodies that are running then may take to end, before their signals are aborted. Default 10,000. */
  readonly graceMs: number;
}

/** From where on the health report says `degraded`. */
export interface HealthOptions {
  /** Round trip of one trivial statement, in milliseconds. Default 1,000. */
  readonly databaseMs?: number;
  /** How long something may wait on a queue that is not paused, in milliseconds. Default 300,000, five minutes. */
  readonly queuedMs?: number;
}

export interface EngineOptions {
  /**
   * Names this process among the executors, a StatefulSet's pod name, say: a restarted process then takes its own work
   * back at once. Two live processes must never share one; the second refuses to start. Default: none, and every start
   * has a random id.
   */
  readonly executorId?: string;
  /**
   * Stored with every workflow that is started here; only processes of this version run those. Default: a digest of
   * the names and sources of the workflow methods, so that each change of one is a new version. Where changes are made
   * with `patched()` or `@Workflow({ version })`, give a constant. A process with `runWorkflows: false` has none by
   * default, and what it starts is for the latest version.
   */
  readonly applicationVersion?: string;
  /** Other versions whose workflows this process may run as well. Default: none. */
  readonly compatibleVersions?: readonly string[];
  /** An executor whose heartbeat is older than this is dead. Default 10,000; at least 500. */
  readonly leaseMs?: number;
  /**
   * Most workflows at work here at once, recovered ones included. Those that wait for another workflow, or longer than
   * `parkAfterMs`, do not count. Default 1,000.
   */
  readonly maxConcurrentWorkflows?: number;
  /**
   * Longest pause between two looks for claimable and due workflows and for outcomes of other processes. Default 1,000;
   * while notifications come in, claimable ones are looked for only every sixth of them.
   */
  readonly pollIntervalMs?: number;
  /** The queues this process claims from. Default: all that it registers. */
  readonly listen?: readonly string[];
  /**
   * Whether workflows run here. A process for which this is false starts and enqueues them, and leaves them to others.
   * Default true.
   */
  readonly runWorkflows?: boolean;
  /** A sleep longer than this leaves memory: the database wakes the workflow. Default 10,000. */
  readonly parkAfterMs?: number;
  /** How long a caller outside of a workflow waits for an unreachable database. Default 30,000. */
  readonly databasePatienceMs?: number;
  readonly shutdown?: Partial<ShutdownTimes>;
  /** How long workflows are kept that have ended. Default: for ever. */
  readonly retention?: RetentionOptions;
  readonly health?: HealthOptions;
  readonly serializers?: SerializerSet;
  /**
   * What is done to all that is stored after its serialization, in this order, such as compression and encryption:
   * inputs, results, errors, checkpoints, messages, events, stream entries, contexts. Default: nothing.
   */
  readonly codecs?: readonly PayloadCodec[];
  /** What workflows take along from where they are started, the outermost first. Default: nothing. */
  readonly contextCarriers?: readonly ContextCarrier[];
  /**
   * What log lines say of the messages of errors. Default: those of the library as they are, of others only name and
   * code. `(message) => message` logs them all. Payloads are never logged.
   */
  readonly redact?: Redact;
  readonly logger?: Logger;
}

/** What a test may set: time and chance. */
export interface ClockAndChance {
  readonly clock?: Clock;
  readonly random?: () => number;
}

export type ResolvedEngineOptions = ReturnType<typeof resolveEngineOptions>;

const DEFAULT_SHUTDOWN: ShutdownTimes = { drainMs: 0, graceMs: 10_000 };
const MIN_LEASE_MS = 500;

/** @throws InvalidArgumentError naming the option, its value and what it may be */
export function resolveEngineOptions(options: EngineOptions, { clock, random }: ClockAndChance) {
  givenOptions('DbosModule', options);
  const serializers = serializersOf(options);
  return {
    identity: new ExecutorIdentity(
      options.executorId === undefined
        ? undefined
        : assertIdentifier('executorId', options.executorId),
    ),
    version: new ApplicationVersion({
      applicationVersion:
        options.applicationVersion === undefined
          ? undefined
          : assertIdentifier('applicationVersion', options.applicationVersion),
      compatibleVersions: (options.compatibleVersions ?? []).map((version) =>
        assertIdentifier('compatibleVersions: a version', version),
      ),
      runWorkflows: options.runWorkflows ?? true,
    }),
    leaseMs: number('leaseMs', options.leaseMs ?? 10_000, MIN_LEASE_MS),
    maxConcurrentWorkflows: number(
      'maxConcurrentWorkflows',
      options.maxConcurrentWorkflows ?? 1_000,
      1,
    ),
    pollIntervalMs: number('pollIntervalMs', options.pollIntervalMs ?? 1_000, 1),
    listen:
      options.listen &&
      Array.from(givenList('listen', options.listen), (name) =>
        assertIdentifier('listen: a queue name', name),
      ),
    runWorkflows: options.runWorkflows ?? true,
    parkAfterMs: number('parkAfterMs', options.parkAfterMs ?? 10_000, 0),
    databasePatienceMs: number('databasePatienceMs', options.databasePatienceMs ?? 30_000, 1),
    shutdownTimes: shutdownTimes(givenOptions('shutdown', options.shutdown ?? {})),
    retention: options.retention && retentionRules(givenOptions('retention', options.retention)),
    health: {
      databaseMs: number('health.databaseMs', options.health?.databaseMs ?? 1_000, 0),
      queuedMs: number('health.queuedMs', options.health?.queuedMs ?? 300_000, 0),
    },
    serializers,
    carriers: carriersOf(options, serializers),
    logger: redactingLogger(options.logger ?? SILENT_LOGGER, options.redact),
    clock: clock ?? new SystemClock(),
    random: random ?? Math.random,
  };
}

function serializersOf({
  serializers = new SerializerSet(),
  codecs,
}: EngineOptions): SerializerSet {
  if (codecs === undefined || givenList('codecs', codecs).length === 0) return serializers;
  return serializers.withCodecs(codecs.map((codec) => givenOptions('A codec', codec)));
}

function carriersOf(
  { contextCarriers = [] }: EngineOptions,
  serializers: SerializerSet,
): ContextCarriers {
  const carriers = new ContextCarriers(serializers);
  for (const carrier of givenList('contextCarriers', contextCarriers))
    carriers.add(givenOptions('A context carrier', carrier));
  return carriers;
}

/** Checks the configured times now, and those of a call when it comes. */
function shutdownTimes(
  configured: Partial<ShutdownTimes>,
): (times: Partial<ShutdownTimes>) => ShutdownTimes {
  const resolve = (times: Partial<ShutdownTimes>): ShutdownTimes => ({
    drainMs: number(
      'shutdown.drainMs',
      times.drainMs ?? configured.drainMs ?? DEFAULT_SHUTDOWN.drainMs,
      0,
    ),
    graceMs: number(
      'shutdown.graceMs',
      times.graceMs ?? configured.graceMs ?? DEFAULT_SHUTDOWN.graceMs,
      0,
    ),
  });
  resolve({});
  return resolve;
}

function number(option: string, value: number, min: number): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= min) return value;
  throw new InvalidArgumentError(
    `${option} must be a finite number of at least ${min}, not ${shown(value)}.`,
  );
}
