/** Directs one phase: spawns the processes of its acts on one fresh database, answers their questions, ends them. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ContestantName } from './contestant.js';
import type { Answer, Assignment, Call, Heard, Message } from './protocol.js';
import type { Counters } from './reading.js';
import type { Sample, ScenarioKey } from './scenario.js';
import type { BenchServer } from './server.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
/** No act may take longer, whatever its contestant does. */
const ACT_LIMIT_MS = 180_000;
const EXIT_LIMIT_MS = 10_000;
/** How much of a failing process's last words is kept. */
const STDERR_LIMIT = 4_000;

export interface PhaseSettings {
  readonly contestant: ContestantName;
  readonly scenario: ScenarioKey;
  readonly quick: boolean;
  readonly profile?: string;
}

export class Director {
  /** The processes that play at this time, by their player's number. */
  private readonly cast = new Map<number, ChildProcess>();

  constructor(
    private readonly server: BenchServer,
    private readonly database: string,
    private readonly phase: PhaseSettings,
  ) {}

  /** Plays an act to its end. @throws when it fails, or measures nothing */
  async play(act: string): Promise<Sample> {
    return sampleOf(await this.run(act, ({ kind }) => kind === 'done'), act);
  }

  /**
   * Plays acts at the same time, each in a process of its own. The first leads: the others hear what it calls out, and
   * it hears them.
   */
  async together(acts: readonly string[]): Promise<Sample[]> {
    const plays = acts.map(async (act, player) => {
      return sampleOf(await this.run(act, ({ kind }) => kind === 'done', player), act);
    });
    try {
      return await Promise.all(plays);
    } catch (error) {
      for (const child of this.cast.values()) child.kill('SIGKILL'); // none comes to its end without the others
      await Promise.allSettled(plays);
      throw error;
    }
  }

  /** Plays an act and tells how long after the spawn of its process it was done. */
  async timed(act: string): Promise<{ sample: Sample; afterMs: number }> {
    const start = performance.now();
    let afterMs = 0;
    const message = await this.run(act, ({ kind }) => {
      afterMs = performance.now() - start;
      return kind === 'done';
    });
    return { sample: sampleOf(message, act), afterMs };
  }

  /** Plays an act until everything is held, then kills its process with SIGKILL. */
  async killWhenHolding(act: string): Promise<void> {
    await this.run(act, (message) => message.kind === 'holding');
  }

  counters(): Promise<Counters> {
    return this.server.counters(this.database);
  }

  private async run(
    act: string,
    isLast: (message: Message) => boolean,
    player = 0,
  ): Promise<Message> {
    const child = this.spawn(act, player);
    this.cast.set(player, child);
    try {
      const last = await this.listen(child, isLast);
      if (last.kind === 'done') await exit(child, EXIT_LIMIT_MS);
      return last;
    } finally {
      child.kill('SIGKILL');
      await exit(child, EXIT_LIMIT_MS);
      this.cast.delete(player);
    }
  }

  private spawn(act: string, player: number): ChildProcess {
    const url = this.server.url(this.database);
    const assignment: Assignment = { ...this.phase, act, url, player };
    const { DATABASE_URL: _, ...env } = process.env;
    return fork(CHILD, [JSON.stringify(assignment)], {
      env: { ...env, NODE_ENV: 'development' },
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
  }

  private listen(child: ChildProcess, isLast: (message: Message) => boolean): Promise<Message> {
    return new Promise((resolve, reject) => {
      let stderr = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        stderr = (stderr + chunk.toString()).slice(-STDERR_LIMIT);
      });
      const limit = setTimeout(
        () => reject(new Error(`not done after ${ACT_LIMIT_MS / 1_000} s`)),
        ACT_LIMIT_MS,
      );
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        clearTimeout(limit);
        reject(new Error(`its process ended with ${signal ?? code}: ${stderr}`));
      });
      child.on('message', (message: Message) => {
        if (isLast(message)) {
          clearTimeout(limit);
          resolve(message);
        } else if (message.kind === 'failed') reject(new Error(message.reason));
        else if (message.kind === 'call') this.passOn(message.call, child);
        else this.answer(child, message).catch(reject);
      });
    });
  }

  private passOn(call: Call, from: ChildProcess): void {
    const heard: Heard = { kind: 'call', call };
    const leader = this.cast.get(0);
    const audience = from === leader ? this.cast.values() : [leader];
    for (const child of audience) if (child !== from && child?.connected) child.send(heard);
  }

  private async answer(child: ChildProcess, question: Message): Promise<void> {
    const answer = await this.answerTo(question);
    if (answer) child.send(answer);
  }

  private async answerTo(question: Message): Promise<Answer | undefined> {
    switch (question.kind) {
      case 'counters':
        return { kind: 'counters', counters: await this.counters() };
      case 'count':
        return { kind: 'count', count: await this.server.count(this.database, question.sql) };
      case 'run':
        await this.server.run(this.database, question.statements);
        return { kind: 'ran' };
      default:
        return undefined;
    }
  }
}

function sampleOf(message: Message, act: string): Sample {
  if (message.kind === 'done' && message.sample) return message.sample;
  throw new Error(`Act "${act}" measured nothing.`);
}

async function exit(child: ChildProcess, limitMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, limitMs);
    child.once('exit', () => {
      clearTimeout(limit);
      resolve();
    });
  });
}
