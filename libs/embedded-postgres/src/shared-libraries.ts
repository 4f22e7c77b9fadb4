// Creates the links between the packaged shared libraries, which npm cannot pack and a blocked install script did not make.
import { readFile, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf, systemCodeOf } from './errors.js';

interface PackagedLink {
  readonly source: string;
  readonly target: string;
}

/** Why the links could not be made; undefined when all are there. */
export async function linkSharedLibraries(native: string): Promise<string | undefined> {
  for (const { source, target } of await packagedLinks(native)) {
    try {
      // Both ends lie in one folder, so a name is enough; the list calls the folder we look at 'native'.
      await symlink(basename(source), join(native, target.replace(/^native\//, '')));
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') return messageOf(error);
    }
  }
  return undefined;
}

async function packagedLinks(native: string): Promise<readonly PackagedLink[]> {
  try {
    return JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as PackagedLink[];
  } catch (error) {
    // The packages for Windows have no list: nothing is linked there.
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
