// Reads PostgreSQL's own postmaster.pid: whether a server runs on a data folder, and on which port.
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCodeOf } from './errors.js';

const run = promisify(execFile);

export interface RunningServer {
  readonly pid: number;
  /** Unknown during the first moments of a start. */
  readonly port: number | undefined;
}

/** The server that runs on this data folder, be it still starting; undefined when none does. */
export async function runningServer(dataDirectory: string): Promise<RunningServer | undefined> {
  const lines = await pidFileLines(dataDirectory);
  if (lines === undefined) return undefined;
  const pid = Number(lines[0]);
  if (!isAlive(pid)) return undefined;
  const port = Number(lines[3]);
  return { pid, port: Number.isInteger(port) && port > 0 ? port : undefined };
}

/**
 * After kill -9 the file stays. PostgreSQL itself sees through it unless the number has been given to another process
 * since, as happens at once in containers; only then is it removed here, because its checks of shared memory need it.
 */
export async function removeStalePidFile(dataDirectory: string): Promise<void> {
  const lines = await pidFileLines(dataDirectory);
  if (lines === undefined) return;
  const pid = Number(lines[0]);
  if (isAlive(pid) && !(await isPostmasterOf(pid, dataDirectory))) {
    await rm(join(dataDirectory, 'postmaster.pid'), { force: true });
  }
}

async function pidFileLines(dataDirectory: string): Promise<string[] | undefined> {
  try {
    const lines = (await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8')).split('\n');
    // A server writes the file in two steps; an empty one says nothing yet.
    return Number(lines[0]) > 0 ? lines : undefined;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

async function isPostmasterOf(pid: number, dataDirectory: string): Promise<boolean> {
  const commandLine = await commandLineOf(pid);
  // When the system does not tell, assume the server: a refused start is better than two servers on one folder.
  return commandLine === undefined || commandLine.includes(dataDirectory);
}

async function commandLineOf(pid: number): Promise<string | undefined> {
  const linux = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  if (linux !== undefined) return linux;
  return run('ps', ['-o', 'command=', '-p', String(pid)]).then(
    ({ stdout }) => stdout,
    () => undefined,
  );
}
