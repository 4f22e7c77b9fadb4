/** What can be told of an order: its row, the steps of its checkout and of its fulfilment, its outcome. */
import { Injectable, NotFoundException } from '@nestjs/common';
import {
  WorkflowNotFoundError,
  WorkflowService,
  type StepReport,
  type WorkflowHandle,
  type WorkflowStatusReport,
} from 'nestjs-dbos';
import { fulfilmentIdOf } from '../fulfilment/fulfilment.queue.js';
import { PrismaService } from '../prisma/prisma.service.js';
import { ProgressService } from '../progress/progress.service.js';
import type { Receipt } from './order.js';

export interface OrderSummary {
  readonly id: string;
  /** ACCEPTED until the first step has written the order's row, then PLACED, then SHIPPED or REFUSED. */
  readonly status: string;
  readonly links: { readonly self: string; readonly page: string };
}

/** How far a workflow is. */
interface Progress {
  readonly workflow: Pick<
    WorkflowStatusReport,
    'status' | 'executorId' | 'recoveryAttempts' | 'createdAt' | 'startedAt' | 'completedAt'
  >;
  readonly steps: ReadonlyArray<{
    readonly name: string;
    readonly attempts: number;
    readonly ms: number;
    readonly error?: string;
  }>;
}

/** Its workflow is ENQUEUED while it waits there. */
export interface FulfilmentProgress extends Progress {
  readonly queue: string | null;
  readonly warehouse: string | null;
}

export interface OrderReport extends OrderSummary, Progress {
  readonly trackingCode: string | null;
  readonly receipt?: Receipt;
  readonly error?: { readonly name: string; readonly message: string };
  /** Once the order is paid. */
  readonly fulfilment?: FulfilmentProgress;
}

const NEWEST = 50;

@Injectable()
export class OrderReports {
  constructor(
    private readonly workflows: WorkflowService,
    private readonly prisma: PrismaService,
  ) {}

  async newest(): Promise<OrderSummary[]> {
    const orders = await this.prisma.order.findMany({
      orderBy: { createdAt: 'desc' },
      take: NEWEST,
    });
    return orders.map(({ id, status }) => summary(id, status));
  }

  async summary(id: string): Promise<OrderSummary> {
    const order = await this.prisma.order.findUnique({ where: { id } });
    return summary(id, order?.status);
  }

  /** @throws NotFoundException */
  async find(id: string): Promise<OrderReport> {
    const checkout = this.workflows.handle<Receipt>(id);
    const status = await statusOf(checkout);
    if (!status) throw new NotFoundException(`There is no order "${id}".`);
    // Read after the status: who is told of an end also sees all that led to it.
    const [order, progress, outcome, fulfilment] = await Promise.all([
      this.prisma.order.findUnique({ where: { id } }),
      this.progressOf(status),
      status.completedAt && outcomeOf(checkout),
      this.fulfilmentOf(id),
    ]);
    return {
      ...summary(id, order?.status),
      trackingCode: order?.trackingCode ?? null,
      ...outcome,
      ...progress,
      ...(fulfilment && { fulfilment }),
    };
  }

  private async fulfilmentOf(orderId: string): Promise<FulfilmentProgress | undefined> {
    const status = await statusOf(this.workflows.handle(fulfilmentIdOf(orderId)));
    if (!status) return undefined;
    const { queue, partitionKey: warehouse } = status;
    return { queue, warehouse, ...(await this.progressOf(status)) };
  }

  private async progressOf({ workflowId, ...workflow }: WorkflowStatusReport): Promise<Progress> {
    const { status, executorId, recoveryAttempts, createdAt, startedAt, completedAt } = workflow;
    const steps = await this.workflows.steps(workflowId);
    return {
      workflow: { status, executorId, recoveryAttempts, createdAt, startedAt, completedAt },
      steps: steps.filter((step) => !ProgressService.isTelling(step)).map(stepLine),
    };
  }
}

function summary(id: string, status = 'ACCEPTED'): OrderSummary {
  return { id, status, links: { self: `/orders/${id}`, page: `/orders/${id}/page` } };
}

/** Undefined when there is no such workflow. */
async function statusOf(handle: WorkflowHandle): Promise<WorkflowStatusReport | undefined> {
  try {
    return await handle.status();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

async function outcomeOf(
  handle: WorkflowHandle<Receipt>,
): Promise<Pick<OrderReport, 'receipt' | 'error'>> {
  try {
    return { receipt: await handle.result() };
  } catch (error) {
    const { name, message } = error as Error;
    return { error: { name, message } };
  }
}

function stepLine({ name, attempts, startedAt, completedAt, error }: StepReport) {
  const ms = completedAt.getTime() - startedAt.getTime();
  return { name, attempts, ms, ...(error && { error: error.message }) };
}
