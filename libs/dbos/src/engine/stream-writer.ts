/** Appends of workflows and their steps. */
import { NotInWorkflowError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import type { EncodedValue } from '../core/serialization/serializer.js';
import { StreamClosedError } from '../core/stream-errors.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { Notifier } from '../repository/notifier.js';
import { checkpoint, type OperationReport } from './checkpoint.js';
import type { OutcomeCodec } from './outcome.js';
import type { RunScope, RunScopes } from './run-scope.js';

export interface StreamWriterParts {
  readonly repository: CheckpointRepository;
  readonly notifier: Notifier;
  readonly scopes: RunScopes;
  readonly codec: OutcomeCodec;
}

/** What is appended; without a value the stream is closed. */
interface Writing {
  readonly key: string;
  readonly value?: EncodedValue;
}

export class StreamWriter {
  /** Workflows that wrote here and still run here: their readers elsewhere are told when they end. */
  private readonly writers = new Set<string>();

  constructor(
    private readonly parts: StreamWriterParts,
    private readonly onAppended: (workflowId: string) => void,
  ) {}

  /** Resolves with the offset once the value is durable. In a step it is appended as often as the step runs. */
  async write(key: string, value: unknown): Promise<number> {
    const scope = this.parts.scopes.current;
    if (!scope) throw new NotInWorkflowError('flow.writeStream()');
    const checked = assertIdentifier('A stream key', key);
    const writing = { key: checked, value: this.encode(checked, value) };
    if (scope.step) return this.appendInStep(scope, scope.step.stepId, writing);
    return this.append(scope, `flow.writeStream ${checked}`, writing);
  }

  /** A stream that is closed already stays so. */
  async close(key: string): Promise<void> {
    const scope = this.parts.scopes.require('flow.closeStream()');
    const checked = assertIdentifier('A stream key', key);
    await this.append(scope, `flow.closeStream ${checked}`, { key: checked });
  }

  /** Nothing of this workflow is appended here any more, for now or for ever. */
  left(workflowId: string): void {
    if (this.writers.delete(workflowId)) this.parts.notifier.notify('stream', workflowId);
  }

  /** Now, so that what becomes of the value afterwards changes nothing. */
  private encode(key: string, value: unknown): EncodedValue {
    return this.parts.codec.serializers.encode(value, `value for stream ${key}`);
  }

  /** The append and its checkpoint are one commit: a replay finds both or neither. */
  private append(scope: RunScope, name: string, writing: Writing): Promise<number> {
    const produce = async (stepId: string, report: OperationReport): Promise<number> => {
      const offset = await this.send(scope, { ...writing, stepId, name });
      report.isRecorded = offset !== undefined;
      return offset ?? 0;
    };
    return checkpoint(scope, { name, produce });
  }

  private async appendInStep(scope: RunScope, stepId: string, writing: Writing): Promise<number> {
    scope.run.assertGoing(scope.sequence);
    return (await this.send(scope, { ...writing, stepId })) ?? 0;
  }

  /**
   * The offset; none where a closed stream was to be closed.
   * @throws StreamClosedError, RunInterruptedError when the run does not own its workflow any more
   */
  private async send(
    { run }: RunScope,
    append: Writing & { readonly stepId: string; readonly name?: string },
  ): Promise<number | undefined> {
    const { repository, notifier } = this.parts;
    const answer = await repository.streams.append({ ...append, owner: run.owner });
    if (answer === 'not owned') throw await run.lost();
    if (answer === 'closed') {
      if (append.value) throw new StreamClosedError(run.id, append.key);
      return undefined;
    }
    this.writers.add(run.id);
    this.onAppended(run.id);
    notifier.notify('stream', run.id);
    return answer.offset;
  }
}
