/**
 * The driver beneath the application's Prisma client: the very pool that the client uses, whoever needs it first.
 *
 * A Prisma client makes its connection pool when it runs its first query, by `connect()` of the driver adapter factory
 * it was given. From then on engine and client share what that call returns: one pool, counted, and closed when the
 * last of them lets go of it.
 */
import { EventEmitter } from 'node:events';
import type { ClientConfig } from 'pg';
import type { ColumnTypes } from './driver-types.js';
import type { PrismaClientLike } from './prisma-client.js';

/** What `pg.Pool` has, by shape: the library is coupled to no version of it. */
export interface DriverPool {
  /** How its connections are made. */
  readonly options?: ClientConfig;
  query(statement: {
    readonly name: string | undefined;
    readonly text: string;
    readonly values: readonly unknown[];
    readonly types: ColumnTypes;
  }): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>;
}

/** A connected driver adapter (`SqlDriverAdapter` of `@prisma/driver-adapter-utils`), as far as it matters here. */
interface DriverAdapter {
  underlyingDriver?(): unknown;
  dispose(): Promise<void>;
}

interface DriverAdapterFactory {
  readonly adapterName: string;
  /** A pool that the application made itself. */
  readonly externalPool?: unknown;
  readonly options?: { readonly disposeExternalPool?: boolean };
  connect(): Promise<DriverAdapter>;
}

/** What makes the client's pool, within it. */
interface ClientEngine {
  /** Told of everything the engine does, before it does it. */
  tracingHelper: object;
  start(): Promise<void>;
}

/** The parts of a Prisma 7 client that are looked at; each is checked before it is used. */
interface ClientInternals {
  readonly _engineConfig?: { readonly adapter?: Partial<DriverAdapterFactory> };
  readonly _engine?: Partial<ClientEngine>;
  readonly _extensions?: { isEmpty(): boolean };
}

/** The one adapter whose pool is known to be that of `pg`. */
const ADAPTER = '@prisma/adapter-pg';

/** One for each factory, so that every engine over a client finds the same. */
const drivers = new WeakMap<object, SharedDriver>();

export class SharedDriver {
  private connected: Promise<DriverAdapter> | undefined;
  private users = 0;
  private servesClient = false;

  private constructor(private readonly connectAnew: () => Promise<DriverAdapter>) {}

  /**
   * The driver beneath a client; undefined where it cannot be shared, and then the client itself is to be used: its
   * statements are not Prisma's own (an extension, a test double), it uses another driver, or it made a pool of its
   * own before anybody could ask.
   */
  static beneath(client: PrismaClientLike): SharedDriver | undefined {
    const factory = factoryOf(client);
    if (!factory) return undefined;
    const known = drivers.get(factory);
    if (known) return known;
    if (hasConnected(client) && !poolStays(factory)) return undefined;
    return SharedDriver.install(factory);
  }

  private static install(factory: DriverAdapterFactory): SharedDriver | undefined {
    const driver = new SharedDriver(factory.connect.bind(factory));
    const value = (): Promise<DriverAdapter> => driver.connectClient();
    if (!Reflect.defineProperty(factory, 'connect', { value, configurable: true, writable: true }))
      return undefined;
    drivers.set(factory, driver);
    return driver;
  }

  /** The pool, for as long as it is not released again; undefined when the driver is none that we know. */
  async use(): Promise<
    { readonly pool: DriverPool; readonly release: () => Promise<void> } | undefined
  > {
    const adapter = await this.acquire();
    const pool = adapter.underlyingDriver?.();
    if (isPool(pool)) return { pool, release: once(() => this.release()) };
    await this.release();
    return undefined;
  }

  /** What the client gets when it connects. A second client of the same factory gets a pool of its own, as ever. */
  private async connectClient(): Promise<DriverAdapter> {
    if (this.servesClient) return this.connectAnew();
    this.servesClient = true;
    const letGo = async (): Promise<void> => {
      this.servesClient = false;
      await this.release();
    };
    try {
      const adapter = await this.acquire();
      return Object.create(adapter, { dispose: { value: letGo } }) as DriverAdapter;
    } catch (error) {
      this.servesClient = false;
      throw error;
    }
  }

  private async acquire(): Promise<DriverAdapter> {
    const connecting = (this.connected ??= this.connectAnew().then(listeningForErrors));
    this.users += 1;
    try {
      return await connecting;
    } catch (error) {
      this.users -= 1;
      if (this.connected === connecting) this.connected = undefined;
      throw error;
    }
  }

  private async release(): Promise<void> {
    const { connected } = this;
    this.users -= 1;
    if (this.users > 0) return;
    this.connected = undefined; // whoever comes now connects anew, and none lets go of the same pool twice
    await (await connected)?.dispose();
  }
}

function factoryOf(client: PrismaClientLike): DriverAdapterFactory | undefined {
  const { _engineConfig, _extensions } = client as ClientInternals;
  const adapter = _engineConfig?.adapter;
  if (adapter?.adapterName !== ADAPTER || typeof adapter.connect !== 'function') return undefined;
  if (_extensions?.isEmpty() === false || !hasOwnStatements(client)) return undefined;
  return adapter as DriverAdapterFactory;
}

/**
 * Whether the client has its pool, or is about to. It keeps that to itself, so it is told to connect with its way
 * barred: one that has none stumbles before it has done anything. One that is built otherwise counts as connected.
 */
function hasConnected(client: PrismaClientLike): boolean {
  const { _engine: engine } = client as ClientInternals;
  const { tracingHelper } = engine ?? {};
  if (typeof engine?.start !== 'function' || tracingHelper === undefined) return true;
  let hasStumbled = false;
  const bar = (): never => {
    hasStumbled = true;
    throw new Error('Nothing is to be connected yet.');
  };
  engine.tracingHelper = { runInChildSpan: bar };
  engine.start().catch(() => undefined);
  engine.tracingHelper = tracingHelper;
  return !hasStumbled;
}

/**
 * Whether `$queryRaw` is the one of Prisma's own class: what somebody put in its place is there to be called. The class
 * is looked up by `constructor`, for a client hides its prototype.
 */
function hasOwnStatements(client: PrismaClientLike): boolean {
  let prototype: unknown = client.constructor.prototype;
  let original: unknown;
  while (prototype && prototype !== Object.prototype) {
    original = Object.getOwnPropertyDescriptor(prototype, '$queryRaw')?.value ?? original;
    prototype = Object.getPrototypeOf(prototype);
  }
  return original !== undefined && original === client.$queryRaw;
}

/** Whether the pool is the application's own, and stays open when the client lets go of it. */
function poolStays({ externalPool, options }: DriverAdapterFactory): boolean {
  return isPool(externalPool) && options?.disposeExternalPool !== true;
}

function isPool(driver: unknown): driver is DriverPool {
  return typeof (driver as Partial<DriverPool> | undefined)?.query === 'function';
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}

/**
 * A connection may break just as the pool hands it over, when nobody listens for its errors (its readiness and its end arrive in
 * one packet): without a listener that would end the process. Who uses it hears of it by what it asks.
 */
function listeningForErrors(adapter: DriverAdapter): DriverAdapter {
  const pool = adapter.underlyingDriver?.();
  if (pool instanceof EventEmitter)
    pool.on('connect', (connection: unknown) => {
      if (connection instanceof EventEmitter) connection.on('error', () => undefined);
    });
  return adapter;
}
