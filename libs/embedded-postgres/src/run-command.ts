// Runs one program of PostgreSQL to its end, under the server's account, and returns what it printed.
import { spawn } from 'node:child_process';
import { EmbeddedPostgresError } from './errors.js';
import type { ServerAccount } from './server-account.js';

/** More than any of the programs prints; the rest of a runaway output is dropped. */
const OUTPUT_LIMIT = 64 * 1024;

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly account: ServerAccount | undefined;
}

export async function runCommand({ program, args, account }: Command): Promise<string> {
  const { exit, output } = await new Promise<{ exit: string | undefined; output: string }>(
    (resolve) => {
      let printed = '';
      const collect = (chunk: Buffer): void => {
        if (printed.length < OUTPUT_LIMIT) printed += chunk.toString();
      };
      const child = spawn(program, args, {
        ...switchTo(account),
        cwd: '/',
        env: serverEnvironment(),
        stdio: ['ignore', 'pipe', 'pipe'],
        windowsHide: true,
      });
      child.stdout.on('data', collect);
      child.stderr.on('data', collect);
      child.once('error', (error) => resolve({ exit: error.message, output: printed }));
      child.once('close', (code, signal) =>
        resolve({ exit: code === 0 ? undefined : `exit ${signal ?? code}`, output: printed }),
      );
    },
  );
  if (exit === undefined) return output;
  throw new EmbeddedPostgresError(
    'COMMAND_FAILED',
    `${program} failed (${exit})${account ? ` as user ${account.name}` : ''}: ${output.trim() || 'no output'}`,
  );
}

/** Spawn options that change the user; none when the server runs as we do. */
export function switchTo(account: ServerAccount | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/** Nothing of the caller's PG* or NODE_* variables may reach the server; messages are to be in English. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'TZ', 'TMPDIR', 'SystemRoot', 'TEMP', 'TMP'];
  const environment: NodeJS.ProcessEnv = { LC_ALL: 'C' };
  for (const name of kept) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
