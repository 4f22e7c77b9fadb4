/** Receives a message: looks, and waits and looks again until one is there or the time is up. */
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { ReceiptDeadline } from '../repository/message-repository.js';
import type { ArrivalWatch, Waiting } from './arrival-watch.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { DatabaseTime } from './database-time.js';
import type { OutcomeCodec, RecordedOutcome } from './outcome.js';
import type { RunScope } from './run-scope.js';

export interface ReceiverParts {
  readonly repository: CheckpointRepository;
  readonly codec: OutcomeCodec;
  readonly time: DatabaseTime;
  readonly arrivals: ArrivalWatch;
  /** A wait longer than this leaves memory. */
  readonly parkAfterMs: number;
}

/** What a run wants to receive. */
export interface Wanted {
  readonly topic: string;
  /** The name of the step. */
  readonly name: string;
  /** Epoch milliseconds; `Infinity` for as long as it takes. */
  readonly untilMs: number;
  /** The step whose tokens expire when the time is up. */
  readonly tokenStepId?: string;
}

/** A receiving that is under way. */
interface Receiving extends Wanted {
  readonly scope: RunScope;
  readonly stepId: string;
  readonly waiting: Waiting;
  readonly report: OperationReport;
}

interface Look {
  readonly isTimeUp: boolean;
  /** To be recorded when nothing is found. */
  readonly deadline?: ReceiptDeadline | undefined;
}

const DEADLINE = 'flow.recv deadline';
/** How long a wait stays in memory that need not: answers often come at once. A tenth of `parkAfterMs` where that is less. */
const MAX_LINGER_MS = 1_000;

export class Receiver {
  constructor(private readonly parts: ReceiverParts) {}

  /**
   * Takes the id of the deadline and that of the message at once, so that a replay comes to the same ones whether it had
   * to wait or not.
   */
  receive<T>(scope: RunScope, wanted: Wanted): Promise<T | undefined> {
    const [deadlineId, stepId] = [scope.sequence.takeId(), scope.sequence.takeId()];
    const { name, topic } = wanted;
    const produce = async (_stepId: string, report: OperationReport): Promise<undefined> => {
      const awaited = { kind: 'message', workflowId: scope.run.id, name: topic } as const;
      const waiting = this.parts.arrivals.register(awaited);
      try {
        const receiving = { ...wanted, scope, stepId, waiting, report };
        report.recorded = await this.reception(receiving, deadlineId);
      } finally {
        waiting.end();
      }
    };
    return checkpoint<T | undefined>(scope, { name, produce }, stepId);
  }

  /** The deadline is recorded only where there is a wait, by the look that finds nothing. */
  private async reception(receiving: Receiving, deadlineId: string): Promise<RecordedOutcome> {
    const { scope, untilMs } = receiving;
    const recalled = scope.run.recall<number>(deadlineId, DEADLINE)?.unwrap();
    const deadlineMs = recalled ?? untilMs;
    receiving.report.awaits = { kind: 'message', topic: receiving.topic, untilMs: deadlineMs };
    const isTimeUp = deadlineMs <= this.parts.time.nowMs();
    const isNew = recalled === undefined && deadlineMs < Infinity;
    const deadline = isNew ? this.deadlineStep(deadlineId, deadlineMs) : undefined;
    const found = await this.look(receiving, { isTimeUp, deadline });
    if (found) return found;
    const soon = await this.waitInMemory(receiving, deadlineMs);
    return soon ?? this.waitAway(receiving, deadlineMs);
  }

  private deadlineStep(stepId: string, deadlineMs: number): ReceiptDeadline {
    return { stepId, name: DEADLINE, output: this.parts.codec.serializers.encode(deadlineMs) };
  }

  /**
   * A short wait, or the first moment of a long one. The slot is given back meanwhile: whoever is to send the message may
   * need it. It is not taken again for a look that finds nothing.
   * @returns undefined when the rest of the wait need not be in memory
   */
  private async waitInMemory(
    receiving: Receiving,
    deadlineMs: number,
  ): Promise<RecordedOutcome | undefined> {
    const { parkAfterMs, time } = this.parts;
    const now = time.nowMs();
    const lingersUntilMs = now + Math.min(parkAfterMs / 10, MAX_LINGER_MS);
    const untilMs = deadlineMs - now <= parkAfterMs ? deadlineMs : lingersUntilMs;
    const end = receiving.scope.run.presence.waitYielding();
    try {
      for (;;) {
        const hasCome = await this.wait(receiving, untilMs);
        if (!hasCome && untilMs < deadlineMs) return undefined;
        const found = await this.look(receiving, { isTimeUp: !hasCome });
        if (found) return found;
      }
    } finally {
      end();
    }
  }

  /** Once nothing but such waits is left, the run leaves memory, and this promise with it. */
  private async waitAway(receiving: Receiving, deadlineMs: number): Promise<RecordedOutcome> {
    const { scope, topic } = receiving;
    const { run, sequence } = scope;
    for (;;) {
      const end = run.presence.waitLong({ wakeAtMs: deadlineMs, topic });
      const hasCome = await this.wait(receiving, deadlineMs).finally(end);
      const barrier = run.barrier(sequence, true); // it may be on its way out
      if (barrier) await barrier;
      const found = await this.look(receiving, { isTimeUp: !hasCome });
      if (found) return found;
    }
  }

  /** Whether something may have come; otherwise the moment is there. */
  private wait({ scope, waiting }: Receiving, untilMs: number): Promise<boolean> {
    const withinMs = Math.max(0, untilMs - this.parts.time.nowMs());
    return waiting.wait({ withinMs, signal: scope.sequence.signal });
  }

  /** What now stands as the outcome, if there is one. */
  private async look(
    { scope, topic, name, stepId, waiting, tokenStepId }: Receiving,
    { isTimeUp, deadline }: Look,
  ): Promise<RecordedOutcome | undefined> {
    const { codec, repository } = this.parts;
    const { run, sequence } = scope;
    waiting.arm(); // before the look, or what comes between look and wait would be missed
    await run.confirmed();
    run.assertGoing(sequence);
    const timeout = isTimeUp ? codec.serializers.encode(undefined) : undefined;
    const receipt = { owner: run.owner, stepId, name, topic, timeout };
    const reception = await repository.messages.receive({
      ...receipt,
      ...(tokenStepId !== undefined && { tokenStepId }),
      ...(deadline && { deadline }),
    });
    switch (reception.result) {
      case 'received':
        return { output: reception.output, error: null };
      case 'none':
        return undefined;
      case 'lost':
        throw await run.lost();
      default:
        return reception satisfies never;
    }
  }
}
