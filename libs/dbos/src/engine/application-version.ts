/** Which version of the application this process is, and which versions' workflows it may run. */
import { createHash } from 'node:crypto';
import type { WorkflowDefinition } from './registry.js';

export interface VersionSettings {
  readonly applicationVersion: string | undefined;
  readonly compatibleVersions: readonly string[];
  readonly runWorkflows: boolean;
}

export class ApplicationVersion {
  private hash: string | undefined;

  constructor(private readonly settings: VersionSettings) {}

  /** Once all workflows are registered. A process that runs none has no code to tell its version by. */
  resolve(definitions: readonly WorkflowDefinition[]): void {
    if (this.settings.runWorkflows) this.hash = versionOf(definitions);
  }

  /** What is stored with workflows that are started here; undefined: whoever is the latest may take them. */
  get own(): string | undefined {
    return this.settings.applicationVersion ?? this.hash;
  }

  /** The own one first. */
  get runnable(): readonly string[] {
    return [...new Set([this.own ?? '', ...this.settings.compatibleVersions])];
  }

  get compatible(): readonly string[] {
    return this.settings.compatibleVersions;
  }
}

/**
 * A digest of the names and the sources of the workflow methods, as DBOS makes it: the same in every process and on every
 * machine that runs the same build, in whatever order the workflows were registered. Steps do not count, for they may
 * change under a workflow that goes on.
 */
export function versionOf(definitions: readonly WorkflowDefinition[]): string {
  const parts = definitions.map(({ name, source }) => [name, source] as const);
  const sorted = parts.toSorted(([one], [other]) => (one < other ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 16);
}
