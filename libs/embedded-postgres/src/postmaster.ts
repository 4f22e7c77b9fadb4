// Starts one server process, detached from us, and waits until it accepts connections or ends.
import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { program, type Binaries } from './binaries.js';
import type { Cluster } from './cluster.js';
import { dataDirectoryAt } from './connection.js';
import { EmbeddedPostgresError, messageOf } from './errors.js';
import { LOOPBACK } from './free-port.js';
import { serverEnvironment, switchTo } from './run-command.js';
import type { ServerAccount } from './server-account.js';

const POLL_MS = 20;
const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
const LOG_TAIL_CHARACTERS = 2_000;

export interface StartRequest {
  readonly binaries: Binaries;
  readonly cluster: Cluster;
  readonly account: ServerAccount | undefined;
  readonly port: number;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly logFile: string;
  readonly deadline: number;
}

export async function startPostmaster(request: StartRequest): Promise<void> {
  const logStart = await trimmedLogSize(request.logFile);
  const child = await spawnDetached(request);
  try {
    await waitUntilReady(request, child);
  } catch (error) {
    const log = (await readFile(request.logFile, 'utf8').catch(() => '')).slice(logStart);
    throw new EmbeddedPostgresError(
      'START_FAILED',
      `PostgreSQL did not start on ${request.cluster.directory}: ${messageOf(error)}. ` +
        `Its log (${request.logFile}) says:\n${log.slice(-LOG_TAIL_CHARACTERS).trim() || 'nothing'}`,
      { cause: error },
    );
  } finally {
    // From here on the server lives without us.
    child.removeAllListeners();
    child.unref();
  }
}

async function spawnDetached(request: StartRequest): Promise<ChildProcess> {
  const settings = {
    ...request.settings,
    port: request.port,
    listen_addresses: LOOPBACK,
    // No socket files: they would need a short path and leave traces; loopback is enough.
    unix_socket_directories: '',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = await open(request.logFile, 'a', 0o600);
  try {
    return spawn(
      join(request.binaries.directory, program('postgres')),
      ['-D', request.cluster.directory, ...flags],
      {
        ...switchTo(request.account),
        cwd: request.cluster.directory,
        env: serverEnvironment(),
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        windowsHide: true,
      },
    );
  } finally {
    await log.close();
  }
}

async function waitUntilReady(request: StartRequest, child: ChildProcess): Promise<void> {
  const address = { port: request.port, password: request.cluster.password };
  let ended: string | undefined;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = `it ended with ${signal ?? code}`));
  for (;;) {
    const refusal = await dataDirectoryAt(address).then(() => undefined, messageOf);
    if (ended !== undefined) throw new Error(ended);
    if (refusal === undefined) return;
    if (Date.now() > request.deadline) throw new Error(`not ready in time (${refusal})`);
    await delay(POLL_MS);
  }
}

async function trimmedLogSize(logFile: string): Promise<number> {
  const size = await stat(logFile).then(
    (entry) => entry.size,
    () => 0,
  );
  if (size <= LOG_LIMIT_BYTES) return size;
  await truncate(logFile);
  return 0;
}
