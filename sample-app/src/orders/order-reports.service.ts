/** What can be told of an order: its row, its recorded steps, its outcome. */
import { Injectable, NotFoundException } from '@nestjs/common';
import {
  WorkflowNotFoundError,
  WorkflowService,
  type StepReport,
  type WorkflowHandle,
  type WorkflowStatusReport,
} from 'nestjs-dbos';
import { PrismaService } from '../prisma/prisma.service.js';
import type { Receipt } from './order.js';

export interface OrderSummary {
  readonly id: string;
  /** ACCEPTED until the first step has written the order's row, then PLACED, then SHIPPED or REFUSED. */
  readonly status: string;
  readonly links: { readonly self: string };
}

export interface OrderReport extends OrderSummary {
  readonly trackingCode: string | null;
  readonly receipt?: Receipt;
  readonly error?: { readonly name: string; readonly message: string };
  readonly workflow: Pick<
    WorkflowStatusReport,
    'status' | 'executorId' | 'recoveryAttempts' | 'createdAt' | 'completedAt'
  >;
  readonly steps: ReadonlyArray<{
    readonly name: string;
    readonly attempts: number;
    readonly ms: number;
    readonly error?: string;
  }>;
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
    const handle = this.workflows.handle<Receipt>(id);
    const workflow = await handle.status().catch((error: unknown) => {
      throw error instanceof WorkflowNotFoundError
        ? new NotFoundException(`There is no order "${id}".`)
        : error;
    });
    // Read after the status: who is told of an end also sees all that led to it.
    const [order, steps, outcome] = await Promise.all([
      this.prisma.order.findUnique({ where: { id } }),
      this.workflows.steps(id),
      workflow.completedAt && outcomeOf(handle),
    ]);
    const { status, executorId, recoveryAttempts, createdAt, completedAt } = workflow;
    return {
      ...summary(id, order?.status),
      trackingCode: order?.trackingCode ?? null,
      ...outcome,
      workflow: { status, executorId, recoveryAttempts, createdAt, completedAt },
      steps: steps.map(stepLine),
    };
  }
}

function summary(id: string, status = 'ACCEPTED'): OrderSummary {
  return { id, status, links: { self: `/orders/${id}` } };
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
