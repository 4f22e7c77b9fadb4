// Says which account the server runs under: our own, or an unprivileged one when we are root, which PostgreSQL refuses.
import { readFile } from 'node:fs/promises';
import { EmbeddedPostgresError } from './errors.js';

export interface ServerAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** `postgres` exists where PostgreSQL is installed; `nobody` exists nearly everywhere. */
const CANDIDATES = ['postgres', 'nobody'];

/** The account to switch to, or undefined when the server can simply run as we do. */
export async function serverAccount(): Promise<ServerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = parseAccounts(await readFile('/etc/passwd', 'utf8').catch(() => ''));
  for (const name of CANDIDATES) {
    const account = accounts.get(name);
    if (account !== undefined && account.uid !== 0) return account;
  }
  throw new EmbeddedPostgresError(
    'NO_SERVER_ACCOUNT',
    `PostgreSQL does not run as root, and this machine has none of the users ${CANDIDATES.join(', ')} to run it as. ` +
      'Run as another user, create one (useradd --system postgres), or set DATABASE_URL to a server of your own.',
  );
}

function parseAccounts(passwd: string): Map<string, ServerAccount> {
  const accounts = new Map<string, ServerAccount>();
  for (const line of passwd.split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === undefined || uid === undefined || gid === undefined) continue;
    // Unsigned: macOS writes nobody's ids as -2.
    accounts.set(name, { name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 });
  }
  return accounts;
}
