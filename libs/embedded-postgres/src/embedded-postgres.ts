// Adopts the server that runs on a folder, or starts one there; several processes at once end up with one server.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { availableLibraries, findBinaries, program, type Binaries } from './binaries.js';
import { findOrCreateCluster, type Cluster } from './cluster.js';
import {
  connectionUrl,
  createDatabaseIfMissing,
  dataDirectoryAt,
  hasOtherClients,
  type Address,
} from './connection.js';
import { EmbeddedPostgresError, messageOf } from './errors.js';
import { findPort } from './free-port.js';
import { resolveOptions, type EmbeddedPostgresOptions, type ResolvedOptions } from './options.js';
import { findPlace } from './place.js';
import { removeStalePidFile, runningServer } from './postmaster-file.js';
import { startPostmaster } from './postmaster.js';
import { runCommand } from './run-command.js';
import { serverAccount, type ServerAccount } from './server-account.js';
import { withStartLock } from './start-lock.js';

/** A start can lose its port, or find the last backends of a killed server still leaving: worth another try. */
const START_ATTEMPTS = 5;
const ADOPT_POLL_MS = 50;

interface Installation {
  readonly options: ResolvedOptions;
  readonly account: ServerAccount | undefined;
  readonly place: string;
  readonly binaries: Binaries;
}

export interface StopOptions {
  /** Leave the server running while another process is connected to it. */
  readonly onlyIfUnused?: boolean;
}

/**
 * A PostgreSQL server on loopback that outlives this process.
 *
 * @example
 * const server = await EmbeddedPostgres.start({ directory: '.postgres' });
 * await server.createDatabase('shop');
 * process.env.DATABASE_URL = server.url('shop');
 */
export class EmbeddedPostgres {
  private constructor(
    private readonly installation: Installation,
    private readonly cluster: Cluster,
    private readonly address: Address,
    /** True when the server ran already. */
    readonly adopted: boolean,
  ) {}

  static async start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
    const installation = await findInstallation(resolveOptions(options));
    const { startTimeoutMs, log } = installation.options;
    const deadline = Date.now() + startTimeoutMs;
    return locked(installation, async () => {
      const cluster = await findOrCreateCluster(installation);
      const adopted = await adopt(cluster, deadline);
      const port = adopted ?? (await startNew(installation, cluster, deadline));
      log(
        `PostgreSQL ${installation.binaries.majorVersion} ${adopted ? 'adopted' : 'started'} on port ${port}`,
      );
      const address = { port, password: cluster.password };
      return new EmbeddedPostgres(installation, cluster, address, adopted !== undefined);
    });
  }

  /** PostgreSQL's own data directory. */
  get dataDirectory(): string {
    return this.cluster.directory;
  }

  /** Connection string of a database, with the superuser's password. */
  url(database: string): string {
    return connectionUrl(this.address, database);
  }

  async createDatabase(database: string): Promise<void> {
    await createDatabaseIfMissing(this.address, database);
  }

  /** Ends all its connections and stops the server; true when it no longer runs. */
  async stop({ onlyIfUnused = false }: StopOptions = {}): Promise<boolean> {
    const { account, binaries } = this.installation;
    return locked(this.installation, async () => {
      if ((await runningServer(this.dataDirectory)) === undefined) return true;
      if (onlyIfUnused && (await hasOtherClients(this.address))) return false;
      await runCommand({
        program: join(binaries.directory, program('pg_ctl')),
        args: ['stop', '-D', this.dataDirectory, '-m', 'fast', '-w'],
        account,
      }).catch((error: unknown) => {
        throw new EmbeddedPostgresError('STOP_FAILED', messageOf(error), { cause: error });
      });
      return true;
    });
  }
}

async function findInstallation(options: ResolvedOptions): Promise<Installation> {
  const account = await serverAccount();
  const place = await findPlace(options, account);
  const { binDirectory } = options;
  return {
    options,
    account,
    place,
    binaries: await findBinaries({ binDirectory, place, account }),
  };
}

async function locked<T>({ place, options }: Installation, work: () => Promise<T>): Promise<T> {
  return withStartLock(join(place, 'start.lock'), options.startTimeoutMs, work);
}

/** The port of the server that runs on this data folder, once it accepts connections; undefined when none runs. */
async function adopt(cluster: Cluster, deadline: number): Promise<number | undefined> {
  await removeStalePidFile(cluster.directory);
  for (;;) {
    const running = await runningServer(cluster.directory);
    if (running === undefined) return undefined;
    const { port } = running;
    // Asking for its folder makes sure that it is not another server that has this port by now.
    const directory =
      port === undefined
        ? undefined
        : await dataDirectoryAt({ port, password: cluster.password }).catch(() => undefined);
    if (directory === cluster.directory) return port;
    if (Date.now() > deadline) {
      throw new EmbeddedPostgresError(
        'START_FAILED',
        `Process ${running.pid} runs PostgreSQL on ${cluster.directory} but accepts no connections. End it and try again.`,
      );
    }
    await delay(ADOPT_POLL_MS);
  }
}

async function startNew(
  installation: Installation,
  cluster: Cluster,
  deadline: number,
): Promise<number> {
  const { account, binaries, options, place } = installation;
  const settings = { ...options.settings, ...(await preloadSetting(installation)) };
  const logFile = join(place, 'server.log');
  for (let attempt = 1; ; attempt += 1) {
    const port = await findPort(join(place, 'port'));
    try {
      await startPostmaster({ account, binaries, cluster, settings, port, logFile, deadline });
      return port;
    } catch (error) {
      const adopted = await adopt(cluster, deadline);
      if (adopted !== undefined) return adopted;
      if (attempt >= START_ATTEMPTS || Date.now() > deadline) throw error;
      await delay(attempt * 100);
    }
  }
}

async function preloadSetting({
  options,
  binaries,
}: Installation): Promise<Record<string, string>> {
  const libraries = await availableLibraries(options.preload, binaries);
  return libraries.length === 0 ? {} : { shared_preload_libraries: libraries.join(',') };
}
