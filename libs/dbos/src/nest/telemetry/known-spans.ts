/** The last spans of workflows that left this process unfinished, for the links of those that come back to it. */
import type { SpanContext } from '@opentelemetry/api';

/** Of the workflows that left last; beyond that a link goes to the start only. */
const MOST_KEPT = 10_000;

export class KnownSpans {
  private readonly byWorkflow = new Map<string, SpanContext>();

  keep(workflowId: string, context: SpanContext): void {
    this.byWorkflow.delete(workflowId);
    this.byWorkflow.set(workflowId, context);
    if (this.byWorkflow.size <= MOST_KEPT) return;
    const [oldest] = this.byWorkflow.keys();
    if (oldest !== undefined) this.byWorkflow.delete(oldest);
  }

  take(workflowId: string): SpanContext | undefined {
    const context = this.byWorkflow.get(workflowId);
    this.byWorkflow.delete(workflowId);
    return context;
  }
}
