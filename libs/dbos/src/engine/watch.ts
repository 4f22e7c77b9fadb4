/**
 * Waits for news of workflows, for many at once: one loop and one statement, whoever and however many wait. Who is
 * told that something may have changed asks at once, everybody else once in an interval.
 */
import { deferred, type Deferred } from '../core/deferred.js';
import { EngineNotRunningError } from '../core/errors.js';
import { Loop, type LoopSettings } from './loop.js';

export interface WatchSettings<Question, Answer> extends LoopSettings {
  /** For each question the news, or an error, or nothing new: then it goes on waiting. */
  readonly read: (
    questions: readonly Question[],
  ) => Promise<ReadonlyArray<Answer | Error | undefined>>;
}

/** Most questions of one statement: bounds the answers that are in memory at once. */
const MAX_QUESTIONS = 250;

interface Waiter<Question, Answer> {
  readonly question: Question;
  readonly answer: Deferred<Answer>;
}

export interface Waiting<Answer> {
  readonly answer: Promise<Answer>;
  /** Waits no more; the promise then never settles. */
  cancel(): void;
}

export class Watch<Question extends { readonly workflowId: string }, Answer> extends Loop {
  private readonly waiters = new Map<string, Set<Waiter<Question, Answer>>>();
  /** Those who are to be asked for in the next statement, the first to come first. */
  private readonly due = new Set<Waiter<Question, Answer>>();
  private pollAt = 0;
  private refusal: Error | undefined = new EngineNotRunningError(
    "Workflows cannot be watched yet: they begin once every provider's onApplicationBootstrap has finished, so waiting " +
      'for one there would hold up the bootstrap for ever.',
  );

  constructor(private readonly watching: WatchSettings<Question, Answer>) {
    super(watching);
  }

  override start(): void {
    this.refusal = undefined;
    super.start();
  }

  /** How many wait. */
  get size(): number {
    let size = 0;
    for (const waiters of this.waiters.values()) size += waiters.size;
    return size;
  }

  /** In the waiting room before the first look, so that nothing that happens meanwhile is missed. */
  ask(question: Question): Waiting<Answer> {
    const waiter = { question, answer: deferred<Answer>() };
    if (this.refusal) {
      waiter.answer.reject(this.refusal);
      return { answer: waiter.answer.promise, cancel: () => undefined };
    }
    const waiters = this.waiters.get(question.workflowId) ?? new Set();
    this.waiters.set(question.workflowId, waiters.add(waiter));
    this.due.add(waiter);
    this.wake();
    return { answer: waiter.answer.promise, cancel: () => void this.take(waiter) };
  }

  /** There may be news of a workflow. */
  changed(workflowId: string): void {
    const waiters = this.waiters.get(workflowId);
    if (!waiters) return;
    for (const waiter of waiters) this.due.add(waiter);
    this.wake();
  }

  /** There may be news of any. */
  anyChanged(): void {
    if (this.waiters.size === 0) return;
    this.allAreDue();
    this.wake();
  }

  async tick(): Promise<number> {
    const { clock } = this.watching;
    if (clock.monotonic() >= this.pollAt) {
      this.pollAt = clock.monotonic() + this.spread(this.intervalMs);
      this.allAreDue();
    }
    const asked = [...this.due].slice(0, MAX_QUESTIONS);
    if (asked.length > 0) await this.answer(asked);
    if (this.due.size > 0) return 0;
    return Math.max(0, this.pollAt - clock.monotonic());
  }

  private async answer(asked: ReadonlyArray<Waiter<Question, Answer>>): Promise<void> {
    for (const waiter of asked) this.due.delete(waiter); // from now on a change makes it due once more
    try {
      const answers = await this.watching.read(asked.map(({ question }) => question));
      asked.forEach((waiter, index) => this.tell(waiter, answers[index]));
    } catch (error) {
      for (const waiter of asked) if (this.isWaiting(waiter)) this.due.add(waiter);
      throw error;
    }
  }

  private tell(waiter: Waiter<Question, Answer>, news: Answer | Error | undefined): void {
    if (news === undefined || !this.take(waiter)) return;
    if (news instanceof Error) waiter.answer.reject(news);
    else waiter.answer.resolve(news);
  }

  /** At shutdown: nobody will answer any more. */
  failAll(error: Error): void {
    this.refusal = error;
    for (const waiters of this.waiters.values())
      for (const waiter of waiters) if (this.take(waiter)) waiter.answer.reject(error);
  }

  private allAreDue(): void {
    for (const waiters of this.waiters.values()) for (const waiter of waiters) this.due.add(waiter);
  }

  private isWaiting(waiter: Waiter<Question, Answer>): boolean {
    return this.waiters.get(waiter.question.workflowId)?.has(waiter) ?? false;
  }

  /** Whether it was waiting until now. */
  private take(waiter: Waiter<Question, Answer>): boolean {
    const { workflowId } = waiter.question;
    const waiters = this.waiters.get(workflowId);
    if (!waiters?.delete(waiter)) return false;
    if (waiters.size === 0) this.waiters.delete(workflowId);
    this.due.delete(waiter);
    return true;
  }
}
