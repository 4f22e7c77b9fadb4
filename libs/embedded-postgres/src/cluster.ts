// Makes the data folder of a server once, with a password of its own, and reads back what was made.
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { program, type Binaries } from './binaries.js';
import { exists } from './packaged-programs.js';
import { runCommand } from './run-command.js';
import type { ServerAccount } from './server-account.js';

export const SUPERUSER = 'postgres';

const SECRET_FILE = 'embedded-server.json';

export interface Cluster {
  /** What PostgreSQL calls its data directory. */
  readonly directory: string;
  readonly password: string;
}

export interface ClusterRequest {
  readonly place: string;
  readonly binaries: Binaries;
  readonly account: ServerAccount | undefined;
}

export async function findOrCreateCluster(request: ClusterRequest): Promise<Cluster> {
  const directory = join(request.place, `data-${request.binaries.majorVersion}`);
  if (!(await exists(directory))) await createCluster(directory, request);
  return { directory, password: await readPassword(directory) };
}

/**
 * Made under another name and renamed when complete: a process killed in between leaves no half of a data folder,
 * and of two processes at once one wins, with its own password inside.
 */
async function createCluster(directory: string, request: ClusterRequest): Promise<void> {
  const workshop = await mkdtemp(join(request.place, 'initdb-'));
  try {
    const draft = join(workshop, 'data');
    const secret = join(workshop, 'password');
    const password = randomBytes(18).toString('base64url');
    await mkdir(draft, { mode: 0o700 });
    await writeFile(secret, password, { mode: 0o600 });
    await giveTo(request.account, [workshop, draft, secret]);
    await initialise(draft, secret, request);
    await writePassword(draft, password, request.account);
    await rename(draft, directory);
  } catch (error) {
    if (!(await exists(directory))) throw error;
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
}

async function initialise(draft: string, secret: string, request: ClusterRequest): Promise<void> {
  await runCommand({
    program: join(request.binaries.directory, program('initdb')),
    // The C locale is the only one that every build and every system has; texts sort by code point.
    args: [
      `--pgdata=${draft}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${secret}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ],
    account: request.account,
  });
}

async function writePassword(
  directory: string,
  password: string,
  account: ServerAccount | undefined,
): Promise<void> {
  const file = join(directory, SECRET_FILE);
  await writeFile(file, JSON.stringify({ password }), { mode: 0o600 });
  await chmod(file, 0o600);
  // The server syncs every file of its folder after a crash and complains about those it cannot open.
  await giveTo(account, [file]);
}

async function readPassword(directory: string): Promise<string> {
  const secret: unknown = JSON.parse(await readFile(join(directory, SECRET_FILE), 'utf8'));
  return String((secret as { password: unknown }).password);
}

async function giveTo(account: ServerAccount | undefined, paths: readonly string[]): Promise<void> {
  if (account === undefined) return;
  for (const path of paths) await chown(path, account.uid, account.gid);
}
