/** Group commit: whatever is pending when one of two lanes is free leaves together. */
const LANES = 2;

interface Batch<Contents> {
  readonly contents: Contents;
  /** Settles when the batch is durable. */
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit<Contents> {
  private pending: Batch<Contents>;
  private isEmpty = true;
  private isScheduled = false;
  private busyLanes = 0;

  constructor(
    private readonly emptyContents: () => Contents,
    private readonly write: (contents: Contents) => Promise<void>,
  ) {
    this.pending = this.newBatch();
  }

  /** Puts something into the batch that leaves next; resolves once that is durable. */
  add(put: (contents: Contents) => void): Promise<void> {
    const { contents, written } = this.pending;
    put(contents);
    this.isEmpty = false;
    this.schedule();
    return written;
  }

  private schedule(): void {
    if (this.isScheduled || this.busyLanes === LANES) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      void this.send(this.pending);
    });
  }

  private async send(batch: Batch<Contents>): Promise<void> {
    this.pending = this.newBatch();
    this.isEmpty = true;
    this.busyLanes += 1;
    await this.write(batch.contents).then(batch.resolve, batch.reject);
    this.busyLanes -= 1;
    if (!this.isEmpty) this.schedule();
  }

  private newBatch(): Batch<Contents> {
    let resolve = (): void => undefined;
    let reject: Batch<Contents>['reject'] = () => undefined;
    const written = new Promise<void>((onWritten, onFailure) => {
      resolve = onWritten;
      reject = onFailure;
    });
    return { contents: this.emptyContents(), written, resolve, reject };
  }
}
