/** What customers send, what the workflow works with, and what customers get in the end. */
import { z } from 'zod';

export const OrderIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores')
  .describe('Chosen by you. The same id again is the same order, however often it is sent.')
  .meta({ examples: ['order-1'] });

const OrderLineSchema = z.object({
  sku: z
    .string()
    .min(1)
    .max(64)
    .meta({ examples: ['teapot'] }),
  quantity: z
    .number()
    .int()
    .min(1)
    .max(100)
    .meta({ examples: [1] }),
});

export const OrderRequestSchema = z.object({
  id: OrderIdSchema,
  customer: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .meta({ examples: ['Ada'] }),
  card: z
    .string()
    .regex(/^tok_\w{1,40}$/, 'must be a card token such as tok_visa')
    .describe('A token of the payment gateway, which declines tok_declined and takes any other.')
    .meta({ examples: ['tok_visa'] }),
  lines: z
    .array(OrderLineSchema)
    .min(1)
    .max(20)
    .refine((lines) => new Set(lines.map(({ sku }) => sku)).size === lines.length, {
      error: 'must name each product once',
    }),
});

export type OrderRequest = z.infer<typeof OrderRequestSchema>;

export interface OrderLine {
  readonly sku: string;
  readonly quantity: number;
  readonly priceCents: number;
}

/** An order as it was placed, at the prices and with the warehouse of then: the input of the checkout. */
export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly card: string;
  readonly lines: readonly OrderLine[];
  readonly totalCents: number;
  /** Where it is sent from. */
  readonly warehouse: string;
  /** By a person, before the card is charged; by the rule of then. */
  readonly needsApproval: boolean;
}

export interface Receipt {
  readonly orderId: string;
  readonly totalCents: number;
  readonly chargeId: string;
  readonly trackingCode: string;
}
