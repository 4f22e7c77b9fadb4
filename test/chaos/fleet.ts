// The supervisor: keeps K processes of the application going, each behind a proxy of its own.
import { join } from 'node:path';
import { ChaosProcess, type Life } from './chaos-process.js';
import { ChaosProxy } from './chaos-proxy.js';

export interface FleetSettings {
  readonly size: number;
  readonly pool: number;
  readonly leaseMs: number;
  readonly schedules: boolean;
  /** Where the processes' marks go. */
  readonly directory: string;
  /** The database, directly. */
  readonly url: string;
  /** Whether a process may end by what it runs. */
  readonly endsByItself: boolean;
}

/** A place of the fleet: one process after another. */
export interface Post {
  readonly proxy: ChaosProxy;
  process: ChaosProcess;
}

const STOP_MS = 20_000;

export class Fleet {
  readonly lives: ChaosProcess[] = [];
  readonly posts: Post[] = [];
  /** Of what is started from now on. */
  version = 1;
  private spare: ChaosProcess | undefined;
  private isClosed = false;

  private constructor(private readonly settings: FleetSettings) {}

  static async start(settings: FleetSettings): Promise<Fleet> {
    const fleet = new Fleet(settings);
    for (let place = 0; place < settings.size; place += 1) {
      const proxy = await ChaosProxy.start(settings.url);
      fleet.posts.push({ proxy, process: fleet.launch(proxy) });
    }
    fleet.spare = ChaosProcess.load();
    return fleet;
  }

  get proxies(): ChaosProxy[] {
    return this.posts.map(({ proxy }) => proxy);
  }

  /** What became of each process so far. */
  get history(): readonly Life[] {
    return this.lives;
  }

  /** Somebody who can be given orders; undefined while there is nobody. */
  ready(choice: number): ChaosProcess | undefined {
    const able = this.posts.filter(({ process: one }) => one.isReady && one.isAlive);
    return able[Math.floor(choice * able.length)]?.process;
  }

  async kill(post: Post): Promise<void> {
    const ended = post.process;
    await ended.kill();
    this.replace(post, ended);
  }

  async restart(post: Post): Promise<void> {
    const ended = post.process;
    await ended.stop(STOP_MS);
    this.replace(post, ended);
  }

  /** Ends every process, those that are frozen as well. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all(this.posts.map(({ process: one }) => one.kill()));
    await this.spare?.kill();
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
  }

  /** Puts a new process where one has ended, unless somebody did so before. */
  private replace(post: Post, ended: ChaosProcess): void {
    if (!this.isClosed && post.process === ended) post.process = this.launch(post.proxy);
  }

  /** Begins at once what waits in reserve, and loads the next. */
  private launch(proxy: ChaosProxy): ChaosProcess {
    const { directory, url, pool, leaseMs, schedules, endsByItself } = this.settings;
    const process = this.spare ?? ChaosProcess.load();
    if (this.spare) this.spare = ChaosProcess.load();
    if (endsByItself) process.expectEnd();
    this.lives.push(process);
    const ledger = join(directory, `${process.pid}.jsonl`);
    const { version } = this;
    process
      .go({ url: proxy.url(url), ledger, pool, leaseMs, schedules, version })
      .catch(() => undefined);
    return process;
  }

  /** Replaces those that ended without being told to. */
  replaceEnded(): void {
    for (const post of this.posts) if (!post.process.isAlive) this.replace(post, post.process);
  }
}
