// Lists the folders in which a system keeps PostgreSQL's server programs, newest version first.
import { readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { runCommand } from './run-command.js';

/** Where Debian, Red Hat, Homebrew and Windows install one folder per version. */
const VERSIONED = [
  { parent: '/usr/lib/postgresql', folder: /^\d+$/ },
  { parent: '/usr', folder: /^pgsql-\d+$/ },
  { parent: '/opt/homebrew/opt', folder: /^postgresql@\d+$/ },
  { parent: '/usr/local/opt', folder: /^postgresql@\d+$/ },
  { parent: 'C:\\Program Files\\PostgreSQL', folder: /^\d+$/ },
];

export async function systemBinDirectories(): Promise<string[]> {
  const versioned = await Promise.all(VERSIONED.map(async (place) => versionsIn(place)));
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '');
  return [...new Set([...versioned.flat(), ...(await namedByPgConfig()), ...path])];
}

async function versionsIn({
  parent,
  folder,
}: {
  parent: string;
  folder: RegExp;
}): Promise<string[]> {
  const entries = await readdir(parent).catch((): string[] => []);
  return entries
    .filter((entry) => folder.test(entry))
    .sort((one, other) => versionOf(other) - versionOf(one))
    .map((entry) => join(parent, entry, 'bin'));
}

function versionOf(folder: string): number {
  return Number(/\d+$/.exec(folder)?.[0] ?? 0);
}

async function namedByPgConfig(): Promise<string[]> {
  return runCommand({ program: 'pg_config', args: ['--bindir'], account: undefined }).then(
    (output) => [output.trim()],
    () => [],
  );
}
