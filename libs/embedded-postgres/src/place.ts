// Finds the folder for data, log and lock: the one asked for, or a stable substitute that the server's account can reach.
import { createHash } from 'node:crypto';
import { access, chown, constants, lstat, mkdir, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { EmbeddedPostgresError, messageOf, systemCodeOf } from './errors.js';
import type { ResolvedOptions } from './options.js';
import { runCommand } from './run-command.js';
import type { ServerAccount } from './server-account.js';

export async function findPlace(
  options: ResolvedOptions,
  account: ServerAccount | undefined,
): Promise<string> {
  const { log } = options;
  const directory = await withoutLinks(options.directory);
  if (account === undefined) return directory;
  const refusals: string[] = [];
  for (const candidate of [directory, ...substitutes(directory)]) {
    const refusal = await refusalOf(candidate, account);
    if (refusal === undefined) {
      if (candidate !== directory) {
        log(`User ${account.name} cannot reach ${directory}: data is kept in ${candidate}`);
      }
      return candidate;
    }
    refusals.push(`${candidate}: ${refusal}`);
  }
  throw new EmbeddedPostgresError(
    'NO_PLACE',
    `No folder that user ${account.name} can use for the data (${refusals.join('; ')}). ` +
      'Run as another user than root, or set DATABASE_URL to a server of your own.',
  );
}

/** One name for the folder, whichever link led to it: an adopted server is recognised by its folder's name. */
async function withoutLinks(directory: string): Promise<string> {
  try {
    await makeFolder(directory);
    await access(directory, constants.W_OK | constants.X_OK);
    return await realpath(directory);
  } catch (error) {
    throw new EmbeddedPostgresError(
      'NO_PLACE',
      `Cannot use the data folder ${directory}: ${messageOf(error)}. If another user (root, say) has made it, ` +
        'remove it as that user; or name another folder, or set DATABASE_URL to a server of your own.',
      { cause: error },
    );
  }
}

/** Only the last folder is closed to others: the server's account must get through those above it. */
async function makeFolder(directory: string): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
}

/** Named after the folder asked for, so that the same data is found again; /var/tmp first, it outlives a reboot. */
function substitutes(directory: string): string[] {
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 12);
  const parents = [...new Set(['/var/tmp', tmpdir(), '/tmp'])];
  return parents.map((parent) => join(parent, `nestjs-dbos-${basename(directory)}-${hash}`));
}

/** Why a folder cannot hold the data; undefined when it can, and then it exists and belongs to the account. */
async function refusalOf(directory: string, account: ServerAccount): Promise<string | undefined> {
  try {
    await makeFolder(directory);
    // /tmp is everyone's: somebody else's folder or link under our name must not receive the data.
    const stat = await lstat(directory);
    if (!stat.isDirectory()) return 'is not a folder';
    if (stat.uid !== 0 && stat.uid !== account.uid) return `belongs to user id ${stat.uid}`;
    await chown(directory, account.uid, account.gid);
    return (await reachable(directory, account)) ? undefined : 'cannot be reached';
  } catch (error) {
    return systemCodeOf(error) ?? messageOf(error);
  }
}

/** Asks the system itself instead of reading permission bits: access lists and mount options count as well. */
async function reachable(directory: string, account: ServerAccount): Promise<boolean> {
  const args = ['-c', 'cd "$1" && test -w .', 'sh', directory];
  return runCommand({ program: '/bin/sh', args, account }).then(
    () => true,
    () => false,
  );
}
