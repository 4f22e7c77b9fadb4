/** What the body of a step may know of the attempt it runs in. */
import type { Clock } from '../core/clock.js';
import { StepTimeoutError } from '../core/errors.js';
import type { RunScope, StepContext } from './run-scope.js';

/** Its signal is made when somebody asks for it: most bodies never do. */
export class AttemptContext implements StepContext {
  private controller: AbortController | undefined;
  private abortedBy: unknown;
  private readonly onClose = (): void => this.abort(this.scope.sequence.reason);

  constructor(
    private readonly scope: RunScope,
    readonly stepId: string,
    readonly stepName: string,
    readonly attempt: number,
  ) {}

  get workflowId(): string {
    return this.scope.run.id;
  }

  get idempotencyKey(): string {
    return `${this.workflowId}/${this.stepId}`;
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      const outer = this.scope.sequence.signal;
      if (this.abortedBy !== undefined) this.controller.abort(this.abortedBy);
      else if (outer.aborted) this.controller.abort(outer.reason);
      else outer.addEventListener('abort', this.onClose, { once: true });
    }
    return this.controller.signal;
  }

  abort(reason: unknown): void {
    this.abortedBy ??= reason;
    this.controller?.abort(reason);
  }

  /**
   * The abandoned attempt goes on by itself; whatever becomes of it is ignored.
   * @throws StepTimeoutError
   */
  within<T>(
    timeoutMs: number,
    { clock }: { readonly clock: Clock },
    call: () => T | Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = clock.schedule(timeoutMs, () => {
        const error = new StepTimeoutError(this.stepName, timeoutMs);
        reject(error);
        this.abort(error);
      });
      const settled = (): void => timer.cancel();
      // An async wrapper, so that a body that throws synchronously rejects as well.
      (async () => call())().then(resolve, reject).finally(settled);
    });
  }

  /** Leaves no listener behind on the signal of the run. */
  end(): void {
    if (this.controller) this.scope.sequence.signal.removeEventListener('abort', this.onClose);
  }
}
