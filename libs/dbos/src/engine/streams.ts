/** Streams of values from running workflows to whoever reads them, put together. */
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { LiveValues } from './live-values.js';
import type { LoopSettings } from './loop.js';
import { readStreams, StreamReader, type StreamWatch } from './stream-reader.js';
import { StreamWriter, type StreamWriterParts } from './stream-writer.js';
import { Watch } from './watch.js';
import { givenOptions } from '../core/given.js';
import { shown } from '../core/shown.js';

export interface ReadStreamOptions {
  /** Where to begin. Default 0, the first value. */
  readonly fromOffset?: number;
}

/** Offsets are integers of the database. */
const MAX_OFFSET = 2_147_483_647;

export class Streams {
  readonly watch: StreamWatch;
  readonly writer: StreamWriter;

  constructor(
    private readonly parts: StreamWriterParts,
    loop: Omit<LoopSettings, 'name'>,
  ) {
    const { streams } = parts.repository;
    this.watch = new Watch({
      ...loop,
      name: 'Reading streams',
      read: (positions) => readStreams(streams, positions),
    });
    this.writer = new StreamWriter(parts, (workflowId) => this.watch.changed(workflowId));
    parts.notifier.subscribe('stream', (workflowIds) => {
      if (workflowIds.size === 0) this.watch.anyChanged();
      for (const id of workflowIds) this.watch.changed(id);
    });
  }

  /** A workflow of this process has ended or left memory, or was cancelled by it. */
  left(workflowId: string): void {
    this.writer.left(workflowId);
    this.watch.changed(workflowId);
  }

  /** @throws InvalidArgumentError */
  read<T>(workflowId: string, key: string, options: ReadStreamOptions = {}): LiveValues<T> {
    const { fromOffset = 0 } = givenOptions('readStream()', options);
    const position = {
      workflowId: assertIdentifier('A workflow id', workflowId),
      key: assertIdentifier('A stream key', key),
      fromOffset: checkedOffset(fromOffset),
    };
    const parts = { ...this.parts, watch: this.watch };
    return new LiveValues<T>(() => new StreamReader<T>(parts, position));
  }
}

function checkedOffset(offset: number): number {
  if (Number.isInteger(offset) && offset >= 0 && offset <= MAX_OFFSET) return offset;
  throw new InvalidArgumentError(
    `Reading a stream: fromOffset must be an integer of 0 to ${MAX_OFFSET}, not ${shown(offset)}.`,
  );
}
