// A file system of a few megabytes that is filled to the last byte and freed again. Mounting one takes a right: that of
// root, or that of anybody in a mount namespace of his own, where the machine allows it.
import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const MEGABYTES = 256;
const CHUNKS = [1024 * 1024, 64 * 1024, 4096];
/** Keeps our account, and gives it the right to mount, for us and what we start. */
const NAMESPACE = ['unshare', '--user', '--mount', '--map-current-user', '--keep-caps'] as const;

export class SmallDisk {
  private constructor(readonly directory: string) {}

  /** @throws Error where this process may not mount */
  static async mount(): Promise<SmallDisk> {
    const directory = await mkdtemp(join(tmpdir(), 'dbos-chaos-disk-'));
    try {
      const options = `size=${MEGABYTES}m,mode=0755`;
      await run('mount', ['-t', 'tmpfs', '-o', options, 'dbos-chaos', directory]);
    } catch (error) {
      await rmdir(directory);
      throw error;
    }
    return new SmallDisk(directory);
  }

  /** The beginning of a command line under which a process may mount; undefined where there is none. */
  static async namespace(): Promise<readonly string[] | undefined> {
    const [program, ...args] = NAMESPACE;
    const mounts = ['mount', '-t', 'tmpfs', 'dbos-chaos', '/tmp'];
    return run(program, [...args, ...mounts]).then(
      () => NAMESPACE,
      () => undefined,
    );
  }

  /** Takes what is free, whoever gave it back; resolves when there is nothing left. */
  async fill(): Promise<void> {
    const ballast = await open(this.ballast, 'a');
    try {
      for (const size of CHUNKS) await fillWith(ballast, Buffer.alloc(size));
    } finally {
      await ballast.close();
    }
  }

  async free(): Promise<void> {
    await rm(this.ballast, { force: true });
  }

  async unmount(): Promise<void> {
    await run('umount', ['--lazy', this.directory]);
    await rmdir(this.directory);
  }

  private get ballast(): string {
    return join(this.directory, 'ballast');
  }
}

async function fillWith(file: Awaited<ReturnType<typeof open>>, chunk: Buffer): Promise<void> {
  for (let written = 0; written < MEGABYTES * 1024 * 1024; written += chunk.length) {
    try {
      await file.appendFile(chunk);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      return;
    }
  }
}
