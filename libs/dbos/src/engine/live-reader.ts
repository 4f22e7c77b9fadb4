/** Takes news of a workflow one at a time, in order. In a workflow each taking is a checkpointed operation. */
import { checkpoint } from './checkpoint.js';
import type { LiveIterator } from './live-values.js';
import type { RunScope, RunScopes } from './run-scope.js';
import type { Watch } from './watch.js';

/** What is taken, and recorded in a workflow: enough to go on from there. */
export type Taken<Item> = Item | { readonly end: true };

/** Nothing when the reader was left meanwhile. @throws why the run, or the attempt of a step, must not go on */
export type Wait<Question, News> = (question: Question) => Promise<News | undefined>;

export abstract class LiveReader<
  T,
  Item extends object,
  Question extends { readonly workflowId: string },
  News,
> implements LiveIterator<T> {
  protected isOver = false;
  private turn: Promise<unknown> = Promise.resolve();
  private stopWaiting: ((reason?: Error) => void) | undefined;

  constructor(
    private readonly watch: Watch<Question, News>,
    private readonly scopes: RunScopes,
  ) {}

  /** The determinism key of a taking. */
  protected abstract readonly operation: string;

  protected abstract take(wait: Wait<Question, News>): Promise<Taken<Item>>;

  /** Goes on after what was taken now, or by an earlier run, and gives its value. */
  protected abstract pass(item: Item): T;

  /** Calls are answered in order. In a workflow the id of the operation is taken when the call is made. */
  next(): Promise<IteratorResult<T, undefined>> {
    const scope = this.scopes.current;
    if (!scope || scope.step) {
      return this.inTurn(() => this.take((question) => this.wait(question, scope)));
    }
    const stepId = scope.sequence.takeId();
    const operation = {
      name: this.operation,
      effect: false,
      produce: () => this.take((question) => this.waitInWorkflow(question, scope)),
    };
    return this.inTurn(() => checkpoint(scope, operation, stepId));
  }

  /** Whoever waits is told of the end at once. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    return { done: true, value: undefined };
  }

  protected end(): void {
    this.isOver = true;
    this.stopWaiting?.();
  }

  private inTurn(take: () => Promise<Taken<Item>>): Promise<IteratorResult<T, undefined>> {
    const result = this.turn.then(take).then((taken) => this.resultOf(taken));
    this.turn = result.catch(() => undefined);
    return result;
  }

  private resultOf(taken: Taken<Item>): IteratorResult<T, undefined> {
    if (!('end' in taken)) return { done: false, value: this.pass(taken) };
    this.end();
    return { done: true, value: undefined };
  }

  /** The run may be needed elsewhere meanwhile: it gives its slot back, as for the result of another workflow. */
  private async waitInWorkflow(question: Question, scope: RunScope): Promise<News | undefined> {
    const end = scope.run.presence.waitYielding();
    try {
      return await this.wait(question, scope);
    } finally {
      end();
    }
  }

  private async wait(question: Question, scope: RunScope | undefined): Promise<News | undefined> {
    const signal = scope?.step?.signal ?? scope?.sequence.signal;
    signal?.throwIfAborted();
    const waiting = this.watch.ask(question);
    const stopped = new Promise<undefined>((resolve, reject) => {
      this.stopWaiting = (reason) => {
        waiting.cancel();
        if (reason === undefined) resolve(undefined);
        else reject(reason);
      };
    });
    const onAbort = (): void => this.stopWaiting?.(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([waiting.answer, stopped]);
    } catch (error) {
      this.isOver = true;
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.stopWaiting = undefined;
    }
  }
}
