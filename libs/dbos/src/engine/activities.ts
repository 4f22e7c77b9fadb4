/** What a run is doing at this moment: operations that have begun and not ended, and what they wait for. */

/** What an operation waits for; moments are epoch milliseconds, `Infinity` for as long as it takes. */
export type Awaited =
  | { readonly kind: 'workflow'; readonly workflowId: string }
  | { readonly kind: 'message'; readonly topic: string; readonly untilMs: number }
  | {
      readonly kind: 'event';
      readonly workflowId: string;
      readonly key: string;
      readonly untilMs: number;
    }
  | { readonly kind: 'moment'; readonly untilMs: number };

export interface Activity {
  readonly stepId: string;
  readonly name: string;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** Which try of it this is, and what it waits for; both change. */
  readonly report: { readonly attempts: number; readonly awaits?: Awaited };
}

export class Activities {
  private current: Set<Activity> | undefined;

  begin(activity: Activity): void {
    this.current ??= new Set();
    this.current.add(activity);
  }

  end(activity: Activity): void {
    this.current?.delete(activity);
  }

  /** In the order in which they began. */
  list(): Activity[] {
    return [...(this.current ?? [])];
  }
}
