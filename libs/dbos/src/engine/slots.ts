/** How many workflows may run at once on this executor; waits do not count. */

export class Slots {
  private used = 0;
  private isOpen = false;

  constructor(
    readonly limit: number,
    private readonly onFree: () => void,
  ) {}

  get free(): number {
    return this.isOpen ? Math.max(0, this.limit - this.used) : 0;
  }

  get taken(): number {
    return this.used;
  }

  /** Until then there is no free slot: nothing runs before the application is ready for it. */
  open(): void {
    this.isOpen = true;
  }

  /** Takes a slot if there is one. */
  tryTake(): boolean {
    if (this.free === 0) return false;
    this.used += 1;
    return true;
  }

  /** Takes a slot even beyond the limit: for a run that comes back from a wait and must not be stopped by newcomers. */
  take(): void {
    this.used += 1;
  }

  give(): void {
    this.used -= 1;
    if (this.free > 0) this.onFree();
  }
}
