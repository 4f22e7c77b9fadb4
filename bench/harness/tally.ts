/** Counts events and tells when enough have come. */
export class Tally {
  private reachedCount = 0;
  private waiting: Array<{ readonly total: number; readonly resolve: () => void }> = [];

  get count(): number {
    return this.reachedCount;
  }

  add(): void {
    this.reachedCount += 1;
    if (this.waiting.length === 0) return;
    const due = this.waiting.filter(({ total }) => total <= this.reachedCount);
    this.waiting = this.waiting.filter(({ total }) => total > this.reachedCount);
    for (const { resolve } of due) resolve();
  }

  /** Resolves once the count has come to `total`. */
  reaches(total: number): Promise<void> {
    if (this.reachedCount >= total) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ total, resolve }));
  }
}
