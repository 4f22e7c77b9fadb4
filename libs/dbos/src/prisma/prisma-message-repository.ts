/** Messages in PostgreSQL: what is sent, and what is looked for, side by side leaves as one statement. */
import { randomUUID } from 'node:crypto';
import type { EncodedValue } from '../core/serialization/serializer.js';
import type {
  MessageRepository,
  MessageStep,
  NewMessage,
  Receipt,
  Reception,
  Sending,
} from '../repository/message-repository.js';
import type { Querying } from './database.js';
import { BATCH } from './start-pipeline.js';
import { WritePipeline } from './write-pipeline.js';

interface Dispatch {
  readonly message: NewMessage;
  readonly step: MessageStep | undefined;
}

interface SendRow {
  place: number;
  status: string | null;
  executorId: string | null;
  name: string;
  queue: string | null;
  woken: boolean;
  owned: boolean;
  isNew: boolean;
  expired: boolean;
}

interface ReceiveRow {
  place: number;
  owned: boolean;
  serialization: string;
  output: string;
}

/**
 * Before the keys that stand for a sending itself. No key of a user contains a control character, so none can be the
 * same.
 */
const OWN_KEY = '\u0001';

export class PrismaMessageRepository implements MessageRepository {
  private readonly sends: WritePipeline<Dispatch, Sending>;
  private readonly receipts: WritePipeline<Receipt, Reception>;

  constructor(private readonly database: Querying) {
    this.sends = new WritePipeline({
      ...BATCH,
      keyOf: ({ message }) => message.workflowId, // whoever sends twice is heard in this order
      bytesOf: ({ message }) => message.message.text.length,
      write: (dispatches) => this.writeSends(dispatches),
    });
    this.receipts = new WritePipeline({
      ...BATCH,
      lanes: 1, // thousands may look at once, and others need the pool as well
      keyOf: ({ owner }) => owner.workflowId,
      bytesOf: ({ name, topic }) => name.length + topic.length,
      write: (receipts) => this.writeReceipts(receipts),
    });
  }

  /** Without a key of its own a message gets one: its statement may be sent twice. A checkpoint serves as well. */
  send(message: NewMessage, step?: MessageStep): Promise<Sending> {
    const key = message.idempotencyKey ?? (step ? undefined : `${OWN_KEY}${randomUUID()}`);
    const keyed = key === undefined ? message : { ...message, idempotencyKey: key };
    return this.sends.submit({ message: keyed, step });
  }

  receive(receipt: Receipt): Promise<Reception> {
    return this.receipts.submit(receipt);
  }

  private async writeSends(dispatches: readonly Dispatch[]): Promise<Sending[]> {
    const sent = JSON.stringify(dispatches.map(dispatchRow));
    const rows = await this.database.query<SendRow>(
      (client) => client.$queryRaw`
        SELECT place, status, executor_id AS "executorId", name, queue, woken, owned, is_new AS "isNew", expired
          FROM dbos.send_messages(${sent}::json)`,
    );
    const byPlace = new Map(rows.map((row) => [row.place, row]));
    return dispatches.map((_, place) => sendingOf(byPlace.get(place)));
  }

  private async writeReceipts(receipts: readonly Receipt[]): Promise<Reception[]> {
    const asked = JSON.stringify(receipts.map(receiptRow));
    const rows = await this.database.query<ReceiveRow>(
      (client) => client.$queryRaw`
        SELECT place, owned, serialization, output
          FROM dbos.receive_messages(${asked}::json)`,
    );
    const byPlace = new Map(rows.map((row) => [row.place, row]));
    return receipts.map((_, place) => receptionOf(byPlace.get(place)));
  }
}

function dispatchRow({ message, step }: Dispatch, place: number): Record<string, unknown> {
  return {
    place,
    workflow_id: message.workflowId,
    topic: message.topic,
    idempotency_key: message.idempotencyKey,
    serialization: message.message.format,
    message: message.message.text,
    token_id: message.tokenId,
    sender_id: step?.owner.workflowId,
    executor_id: step?.owner.executorId,
    epoch: step?.owner.epoch,
    step_id: step?.stepId,
    step_name: step?.name,
    step_serialization: step?.output.format,
    step_output: step?.output.text,
  };
}

function sendingOf(row: SendRow | undefined): Sending {
  if (!row?.owned) return { result: 'lost' };
  if (row.status === null) return { result: 'unknown' };
  if (row.expired) return { result: 'expired' };
  const { name, queue, executorId, woken, isNew } = row;
  return { result: 'sent', destination: { name, queue, executorId, isWoken: woken }, isNew };
}

function receiptRow(receipt: Receipt, place: number): Record<string, unknown> {
  const { owner, stepId, name, topic, timeout, tokenStepId, deadline } = receipt;
  return {
    place,
    workflow_id: owner.workflowId,
    executor_id: owner.executorId,
    epoch: owner.epoch,
    step_id: stepId,
    name,
    topic,
    timed_out: timeout !== undefined,
    timeout_serialization: timeout?.format,
    timeout_output: timeout?.text,
    token_step_id: tokenStepId,
    deadline_step_id: deadline?.stepId,
    deadline_name: deadline?.name,
    deadline_serialization: deadline?.output.format,
    deadline_output: deadline?.output.text,
  };
}

function receptionOf(row: ReceiveRow | undefined): Reception {
  if (!row) return { result: 'none' };
  if (!row.owned) return { result: 'lost' };
  const output: EncodedValue = { text: row.output, format: row.serialization };
  return { result: 'received', output };
}
