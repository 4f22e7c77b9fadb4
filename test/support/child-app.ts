// A real process with the library in it, for tests to stop at a named point, to freeze and to kill.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { EnqueueOptions, ForkOptions } from 'nestjs-dbos';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import type { ChildCall, ChildSettings, FromChild, QueueCall } from './child-protocol.js';
import type { Parcel } from './child-queues.js';

const PROGRAM = fileURLToPath(new URL('./child-program.ts', import.meta.url));
const LOADER = new URL('./typescript-loader.mjs', import.meta.url).href;
const WITHOUT_OPEN_TELEMETRY = new URL('./without-open-telemetry.mjs', import.meta.url).href;
/** How long a child may take to answer before the test is told; less than the test itself may take. */
const PATIENCE_MS = 90_000;

/** A parcel, and how it waits. */
export type WaitingParcel = EnqueueOptions & { readonly parcel: Parcel };

/** What a child threw, as far as it can be told across processes. */
export class ChildError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message);
  }
}

export class ChildApp {
  private readonly answers = new Map<number, Deferred<unknown>>();
  private readonly points = new Map<string, Deferred<void>>();
  private readonly ready = deferred<void>();
  private readonly exit: Promise<unknown>;
  private calls = 0;
  private output = '';
  private hasExited = false;

  private constructor(private readonly child: ChildProcess) {
    this.exit = once(child, 'exit').then(([code, signal]) => {
      this.hasExited = true;
      this.fail(
        new ChildError(`The child ended with ${signal ?? code}.\n${this.output}`, undefined),
      );
      return signal ?? code;
    });
    child.on('message', (message: FromChild) => this.receive(message));
    child.stdout?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.ready.promise.catch(() => undefined);
  }

  /** Starts a process and resolves once its application is up; rejects with the reason when it does not come up. */
  static async start(settings: ChildSettings): Promise<ChildApp> {
    const child = ChildApp.begin(settings);
    await child.isReady();
    return child;
  }

  /** Starts a process without waiting for its application. */
  static begin(settings: ChildSettings): ChildApp {
    const imports = settings.withoutOpenTelemetry ? [LOADER, WITHOUT_OPEN_TELEMETRY] : [LOADER];
    const child = fork(PROGRAM, {
      execArgv: imports.flatMap((file) => ['--import', file]),
      env: { ...process.env, CHILD_SETTINGS: JSON.stringify(settings) },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    return new ChildApp(child);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  isReady(): Promise<void> {
    return this.inTime(this.ready.promise, 'to come up');
  }

  /** What the process wrote to its standard output and error. */
  get log(): string {
    return this.output;
  }

  /** Starts a workflow; resolves once the child knows that it is durable. */
  async startWorkflow(name: string, workflowId: string, ...args: unknown[]): Promise<void> {
    await this.call({ what: 'start', name, workflowId, args });
  }

  /**
   * Puts parcels on a queue; resolves with their ids once the child knows that they are durable.
   * @throws ChildError with the code of what the library threw
   */
  enqueue(queue: string, ...parcels: readonly WaitingParcel[]): Promise<string[]> {
    const items = parcels.map(({ parcel, ...options }) => ({ args: [parcel], ...options }));
    return this.call({ what: 'enqueueMany', queue, name: 'Parcels', items }) as Promise<string[]>;
  }

  /** Anything else that is done with a queue. */
  onQueue<T = unknown>(call: QueueCall): Promise<T> {
    return this.call(call) as Promise<T>;
  }

  async cancel(...workflowIds: string[]): Promise<void> {
    await this.call({ what: 'cancel', workflowIds });
  }

  async resume(...workflowIds: string[]): Promise<void> {
    await this.call({ what: 'goOn', workflowIds });
  }

  /** Resolves with the ids of those that it moved. */
  setVersion(workflowIds: readonly string[], version: string): Promise<unknown> {
    return this.call({ what: 'setVersion', workflowIds, version });
  }

  /** Starts a workflow that is cancelled after this long. */
  async startWithin(timeout: number, name: string, workflowId: string): Promise<void> {
    await this.call({ what: 'start', name, workflowId, args: [], options: { timeout } });
  }

  /** Resolves with the id of the fork. */
  fork(originId: string, options: ForkOptions): Promise<string> {
    return this.call({ what: 'fork', originId, options }) as Promise<string>;
  }

  /** @throws ChildError with the code of what the workflow threw */
  result<T = unknown>(workflowId: string): Promise<T> {
    return this.call({ what: 'result', workflowId }) as Promise<T>;
  }

  /** From now on the child stops at this point, whenever it comes there. */
  async stopAt(point: string): Promise<void> {
    this.points.set(point, deferred<void>());
    await this.call({ what: 'stopAt', point });
  }

  /** Resolves once the child stands at the point. */
  reached(point: string): Promise<void> {
    const reached = this.points.get(point);
    if (!reached) throw new Error(`The child was not told to stop at "${point}".`);
    return this.inTime(reached.promise, `to reach "${point}"`);
  }

  /** Lets the child go on from a point, and never stops it there again. */
  async goOnFrom(point: string): Promise<void> {
    await this.call({ what: 'goOnFrom', point });
  }

  /** kill -9; resolves with the signal once the process is gone. */
  async kill(): Promise<unknown> {
    this.child.kill('SIGKILL');
    return this.exit;
  }

  /** As a machine that is paused: nothing of the process runs until `wake`. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  wake(): void {
    this.child.kill('SIGCONT');
  }

  /** A graceful end; resolves with the exit code. */
  async close(): Promise<unknown> {
    if (!this.hasExited) this.child.kill('SIGTERM');
    return this.inTime(this.exit, 'to end');
  }

  /** Resolves with the exit code or signal. */
  ended(): Promise<unknown> {
    return this.inTime(this.exit, 'to end');
  }

  private async call(call: ChildCall): Promise<unknown> {
    const id = (this.calls += 1);
    const answer = deferred<unknown>();
    answer.promise.catch(() => undefined); // a killed child answers nobody
    this.answers.set(id, answer);
    this.child.send({ id, call }, (error) => error && answer.reject(error));
    return this.inTime(answer.promise, `to answer ${JSON.stringify(call)}`);
  }

  private receive(message: FromChild): void {
    switch (message.what) {
      case 'ready':
        return this.ready.resolve();
      case 'failed':
        return this.ready.reject(new ChildError(message.message, message.code));
      case 'stopped':
        return this.points.get(message.point)?.resolve();
      case 'answer':
        return this.answers.get(message.id)?.resolve(message.value);
      case 'error':
        return this.answers.get(message.id)?.reject(new ChildError(message.message, message.code));
    }
  }

  private fail(error: Error): void {
    this.ready.reject(error);
    for (const answer of this.answers.values()) answer.reject(error);
  }

  private async inTime<T>(work: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new ChildError(`The child took too long ${what}.\n${this.output}`, undefined)),
        PATIENCE_MS,
      );
    });
    return Promise.race([work, late]).finally(() => clearTimeout(timer));
  }
}
