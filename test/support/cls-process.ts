// The shop of cls-shop.ts as a real process, for a test to ask.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export type ClsAct =
  | 'run a step'
  | 'run a step that fails'
  | 'start a child in a step'
  | 'call a step in a transaction'
  | 'call a step in one that is rolled back'
  | 'wrap a step in a workflow'
  | 'start in a transaction'
  | 'start in one that is rolled back'
  | 'execute beside one that is rolled back'
  | 'start without a transaction';

export interface ClsQuestion {
  readonly act: ClsAct;
  /** Of the product that is written, and of workflows. */
  readonly id: string;
}

export interface ClsAnswer {
  readonly seen: unknown;
  /** How many products of the id there are then. */
  readonly rows: number;
}

const PROGRAM = fileURLToPath(new URL('./cls-program.ts', import.meta.url));
const LOADER = new URL('./typescript-loader.mjs', import.meta.url).href;
/** How long it may take to answer. */
const PATIENCE_MS = 60_000;

export class ClsProcess {
  private output = '';
  private readonly exit: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    this.exit = once(child, 'exit');
    child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
  }

  static async start(url: string): Promise<ClsProcess> {
    const child = fork(PROGRAM, {
      execArgv: ['--import', LOADER],
      env: { ...process.env, CLS_SHOP_URL: url },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const shop = new ClsProcess(child);
    await shop.answer();
    return shop;
  }

  async ask(act: ClsAct, id: string): Promise<ClsAnswer> {
    const answer = this.answer();
    this.child.send({ act, id } satisfies ClsQuestion);
    return answer;
  }

  async end(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }

  private async answer(): Promise<ClsAnswer> {
    const told = once(this.child, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) });
    const gone = this.exit.then(() => [{ failure: 'The process ended.' }]);
    const late = { failure: 'No answer came.' };
    const [message] = (await Promise.race([told, gone]).catch(() => [late])) as [
      ClsAnswer & { readonly failure?: string },
    ];
    if (message.failure === undefined) return message;
    throw new Error(`${message.failure}\n${this.output}`);
  }
}
