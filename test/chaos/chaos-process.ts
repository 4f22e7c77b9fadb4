// One process of the fleet, what was done to it, and what it answered.
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deferred, type Deferred } from '../../libs/dbos/src/core/deferred.js';
import type { AppSettings, FromApp, Order, ToApp } from './chaos-protocol.js';
import { machineTime } from './marks.js';

const PROGRAM = fileURLToPath(new URL('./app-program.ts', import.meta.url));
const LOADER = new URL('../support/typescript-loader.mjs', import.meta.url).href;
/** An order that is not answered by then is given to somebody else. */
const ANSWER_MS = 12_000;

/** A time in which a process could not tell others that it lives. */
export interface Absence {
  readonly from: number;
  until: number;
}

/** What the checker is told of a process. */
export interface Life {
  readonly pid: number;
  readonly absences: readonly Absence[];
  /** Undefined while it lives. Until then it was alive for sure. */
  readonly endedAt: number | undefined;
  /** Ended by nobody: the code or signal, and its last words. */
  readonly unexpectedEnd: string | undefined;
}

export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export class ChaosProcess implements Life {
  readonly absences: Absence[] = [];
  endedAt: number | undefined;
  unexpectedEnd: string | undefined;
  isReady = false;
  private isExpectedToEnd = false;
  private readonly answers = new Map<number, Deferred<string>>();
  private readonly loaded = deferred<void>();
  private readonly ready = deferred<void>();
  private readonly exit = deferred<void>();
  private orders = 0;
  private output = '';

  private constructor(private readonly child: ChildProcess) {
    this.ready.promise.catch(() => undefined);
    this.loaded.promise.catch(() => undefined);
    child.on('message', (message: FromApp) => this.receive(message));
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    child.on('exit', (code, signal) => this.ended(String(signal ?? code)));
    child.on('error', () => undefined);
  }

  /** Loads the program, and does nothing yet. */
  static load(): ChaosProcess {
    return new ChaosProcess(
      fork(PROGRAM, { execArgv: ['--import', LOADER], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }),
    );
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get log(): string {
    return this.output;
  }

  get isAlive(): boolean {
    return this.endedAt === undefined;
  }

  /** Resolves once the application is up. */
  async go(settings: AppSettings): Promise<void> {
    await this.loaded.promise;
    this.say({ what: 'go', settings });
    await this.ready.promise;
  }

  /** Resolves with the id of what is durable now. @throws Refused, and Error when no answer came */
  async order(order: Order): Promise<string> {
    const n = (this.orders += 1);
    const answer = deferred<string>();
    answer.promise.catch(() => undefined);
    this.answers.set(n, answer);
    const late = setTimeout(() => answer.reject(new Error('No answer came.')), ANSWER_MS);
    this.say({ what: 'order', n, order });
    return answer.promise.finally(() => {
      clearTimeout(late);
      this.answers.delete(n);
    });
  }

  /** The next end of this process is no fault of its own. */
  expectEnd(): void {
    this.isExpectedToEnd = true;
  }

  async kill(): Promise<void> {
    this.isExpectedToEnd = true;
    this.endedAt ??= machineTime();
    this.child.kill('SIGKILL');
    await this.exit.promise;
  }

  /** A graceful end; one that takes longer than this is killed, and told of. */
  async stop(patienceMs: number): Promise<void> {
    this.isExpectedToEnd = true;
    this.child.kill('SIGTERM');
    const late = setTimeout(() => {
      this.unexpectedEnd = `did not end within ${patienceMs} ms of SIGTERM: ${this.lastWords()}`;
      this.child.kill('SIGKILL');
    }, patienceMs);
    await this.exit.promise;
    clearTimeout(late);
  }

  freeze(): Absence {
    this.child.kill('SIGSTOP');
    return this.beginAbsence();
  }

  wake(absence: Absence): void {
    absence.until = machineTime();
    this.child.kill('SIGCONT');
  }

  /** From now on until its end is set. */
  beginAbsence(): Absence {
    const absence = { from: machineTime(), until: Infinity };
    this.absences.push(absence);
    return absence;
  }

  private say(message: ToApp): void {
    if (this.child.connected) this.child.send(message, () => undefined);
  }

  private receive(message: FromApp): void {
    switch (message.what) {
      case 'loaded':
        return this.loaded.resolve();
      case 'ready':
        this.isReady = true;
        return this.ready.resolve();
      case 'done':
        return this.answers.get(message.n)?.resolve(message.id);
      case 'refused':
        return this.answers.get(message.n)?.reject(new Refused(message.code, message.message));
    }
  }

  private ended(how: string): void {
    this.endedAt ??= machineTime();
    this.isReady = false;
    if (!this.isExpectedToEnd) this.unexpectedEnd = `${how}: ${this.lastWords()}`;
    const error = new Error(`The process ended with ${how}.`);
    this.loaded.reject(error);
    this.ready.reject(error);
    for (const answer of this.answers.values()) answer.reject(error);
    this.exit.resolve();
  }

  private lastWords(): string {
    return this.output.slice(-1_500);
  }
}
