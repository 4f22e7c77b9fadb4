/** What customers see of an order while it is carried out: its workflows write it, browsers follow it. */
import { Injectable } from '@nestjs/common';
import { WorkflowContext, WorkflowService } from 'nestjs-dbos';
import { concat, concatMap, of, type Observable } from 'rxjs';
import { fulfilmentIdOf } from '../fulfilment/fulfilment.queue.js';

export type Progress =
  | { readonly stage: 'placed' | 'reserved' | 'asking' | 'charged' | 'queued' | 'packing' }
  | { readonly stage: 'charging'; readonly attempt: number }
  | { readonly stage: 'shipped'; readonly trackingCode: string }
  | { readonly stage: 'refused'; readonly reason: string };

const STREAM = 'progress';

@Injectable()
export class ProgressService {
  constructor(
    private readonly flow: WorkflowContext,
    private readonly workflows: WorkflowService,
  ) {}

  /** Once from a workflow, whatever dies; from a step at each of its attempts. */
  async tell(progress: Progress): Promise<void> {
    await this.flow.writeStream(STREAM, progress);
  }

  /** From the beginning to the end of the order: the checkout's, and from its queueing on the fulfilment's. */
  of(orderId: string): Observable<Progress> {
    const fulfilment = this.written(fulfilmentIdOf(orderId));
    return this.written(orderId).pipe(
      concatMap((progress) =>
        progress.stage === 'queued' ? concat(of(progress), fulfilment) : of(progress),
      ),
    );
  }

  /** Whether a step of a workflow does no more than tell how far it is. */
  static isTelling({ name }: { readonly name: string }): boolean {
    return name === `flow.writeStream ${STREAM}`;
  }

  private written(workflowId: string): Observable<Progress> {
    return this.workflows.readStream<Progress>(workflowId, STREAM);
  }
}
