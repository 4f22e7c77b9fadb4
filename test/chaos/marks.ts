// The ledger: a file for each process, to which every body appends a line before it does anything. What was appended
// stays, whatever becomes of the process and of the database.
import { closeSync, openSync, writeSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Mark {
  readonly kind: 'begin' | 'end';
  /** Milliseconds of the machine's clock, which is the database's as well. */
  readonly at: number;
  readonly pid: number;
  readonly workflow: string;
  /** Steps of a workflow are numbered in the order in which it takes them. */
  readonly step: number;
  readonly queue?: string;
  readonly partition?: string;
}

export const machineTime = (): number => performance.timeOrigin + performance.now();

export class MarkFile {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'a');
  }

  /** One write of one line: it is there or not. */
  add(mark: Omit<Mark, 'at' | 'pid'>): void {
    writeSync(this.file, `${JSON.stringify({ ...mark, at: machineTime(), pid: process.pid })}\n`);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** All marks of a folder, in the order of time. */
export async function readMarks(directory: string): Promise<Mark[]> {
  const files = await readdir(directory);
  const texts = await Promise.all(files.map((file) => readFile(join(directory, file), 'utf8')));
  const marks = texts.flatMap((text) =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Mark),
  );
  return marks.sort((one, other) => one.at - other.at);
}
