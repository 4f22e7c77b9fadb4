// Lets one process at a time start or stop a server, and takes the lock over from a holder that has died.
import { randomUUID } from 'node:crypto';
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedPostgresError, systemCodeOf } from './errors.js';
import { isAlive } from './postmaster-file.js';

const POLL_MS = 25;
const HEARTBEAT_MS = 1_000;
/** A holder that shares our folder but not our process table is judged by its heartbeat alone. */
const STALE_AFTER_MS = 15_000;

interface Holder {
  readonly token: string;
  readonly pid: number;
  readonly host: string;
}

/**
 * The lock spares work, it does not guard the data: should two processes hold it at once (after a take-over, the last
 * moment of which a file system cannot make atomic), PostgreSQL's own interlock still lets one server run only.
 */
export async function withStartLock<T>(
  path: string,
  timeoutMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const holder: Holder = { token: randomUUID(), pid: process.pid, host: hostname() };
  await acquire(path, holder, timeoutMs);
  const heartbeat = setInterval(() => void touch(path), HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if ((await holderOf(path))?.token === holder.token) await rm(path, { force: true });
  }
}

async function acquire(path: string, holder: Holder, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      await writeFile(path, JSON.stringify(holder), { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
    }
    if (await isStale(path)) {
      await rm(path, { force: true });
    } else if (Date.now() > deadline) {
      const pid = (await holderOf(path))?.pid ?? 'unknown';
      throw new EmbeddedPostgresError(
        'START_LOCKED',
        `Process ${pid} has been starting the server for ${timeoutMs} ms. If it hangs, end it or remove ${path}.`,
      );
    } else {
      await delay(POLL_MS);
    }
  }
}

async function isStale(path: string): Promise<boolean> {
  const [holder, age] = await Promise.all([holderOf(path), ageMs(path)]);
  if (age === undefined) return false;
  if (holder?.host === hostname() && !isAlive(holder.pid)) return true;
  return age > STALE_AFTER_MS;
}

async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Holder;
  } catch {
    // Gone, or being written at this moment: its age decides.
    return undefined;
  }
}

async function ageMs(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => undefined,
  );
}

async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined);
}
