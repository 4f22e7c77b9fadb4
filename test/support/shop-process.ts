// The sample shop as a real process, for tests to kill.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./shop-program.ts', import.meta.url));
const LOADER = new URL('./typescript-loader.mjs', import.meta.url).href;
/** How long it may take to come up. */
const PATIENCE_MS = 90_000;

export class ShopProcess {
  private constructor(
    private readonly child: ChildProcess,
    private readonly exit: Promise<unknown>,
    readonly url: string,
  ) {}

  /** @param environment on top of the test's own; resolves once the shop takes orders */
  static async start(environment: Record<string, string>): Promise<ShopProcess> {
    const child = fork(PROGRAM, {
      execArgv: ['--import', LOADER],
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exit = once(child, 'exit');
    const told = once(child, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) });
    const [url] = await Promise.race([told, exit.then(() => [])]).catch(() => []);
    if (typeof url === 'string') return new ShopProcess(child, exit, url);
    child.kill('SIGKILL');
    throw new Error(`The shop did not come up.\n${output}`);
  }

  /** kill -9; resolves once the process is gone. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }
}
