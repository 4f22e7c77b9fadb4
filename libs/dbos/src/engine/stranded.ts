/** What cannot go on as things are, told once in the log with what to do. */
import type { Logger } from '../core/logger.js';
import type { CheckpointRepository } from '../repository/checkpoint-repository.js';
import type { StrandedWorkflows, UnfinishedCounts } from '../repository/workflow-repository.js';
import type { ApplicationVersion } from './application-version.js';
import type { WorkflowRegistry } from './registry.js';

export interface StrandedParts {
  readonly repository: CheckpointRepository;
  readonly registry: WorkflowRegistry;
  readonly version: ApplicationVersion;
  readonly logger: Logger;
}

export class Stranded {
  /** What was told already. */
  private readonly told = new Set<string>();

  constructor(private readonly parts: StrandedParts) {}

  /** Counts what is unfinished, and warns of what cannot go on. */
  async look(): Promise<UnfinishedCounts> {
    const { repository, registry } = this.parts;
    const unfinished = await repository.workflows.countUnfinished(registry.names());
    for (const stranded of unfinished.stranded) this.tell(stranded);
    return unfinished;
  }

  private tell(stranded: StrandedWorkflows): void {
    const { version, logger } = this.parts;
    const { name, reason } = stranded;
    const key = JSON.stringify([name, stranded.version, reason]);
    if (this.told.has(key)) return;
    this.told.add(key);
    logger.warn(`${strandedSentence(stranded)} ${remedyOf(stranded, version.own)}`, {
      name,
      version: stranded.version,
      count: stranded.count,
      reason,
    });
  }
}

export function strandedSentence({ name, version, count, reason }: StrandedWorkflows): string {
  const of = version === null ? '' : ` of version "${version}"`;
  return `${count} unfinished "${name}"${of} cannot go on here: ${reason}.`;
}

/** @param own the version of this process, where it has one */
export function remedyOf({ version, reason }: StrandedWorkflows, own = '…'): string {
  switch (reason) {
    case 'no live executor may run its version':
      return (
        `Start a process of version "${version ?? ''}", or, if this code matches what they have done so far, let it run ` +
        `them: compatibleVersions: ['${version ?? ''}'], or ` +
        `workflows.setVersion({ applicationVersion: '${version ?? ''}' }, '${own}').`
      );
    case 'no workflow of this name is registered here':
      return 'Start a process that registers it, or cancel them.';
    case 'the code does not match the history':
      return 'Deploy code that does, resume them, or cancel them; workflows.explain(id) has the difference.';
    default:
      return reason satisfies never;
  }
}
