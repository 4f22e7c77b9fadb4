/** What may be said when something is done to workflows from outside, and the checks of it. */
import { InvalidArgumentError } from '../core/errors.js';
import { assertIdentifier } from '../core/identifiers.js';
import { placementOn } from '../core/queue.js';
import type { TimeLimitOptions } from '../core/time-limit.js';
import type { Asked, Family, Place, VersionFilter } from '../repository/control-repository.js';
import type { QueueRegistry } from './queue-registry.js';
import { shown } from '../core/shown.js';

/** One id, or many: those are one statement. At most 10,000. */
export type WorkflowIds = string | readonly string[];

/** Common to everything that is done to workflows. */
export interface ActionOptions {
  /** Who asks for it; kept with the record of it (`workflows.actions`). */
  readonly by?: string;
}

export interface FamilyOptions extends ActionOptions {
  /** Also what they have started, and what those have, however deep. Default false. */
  readonly children?: boolean;
}

export interface PlaceOptions extends ActionOptions {
  /** Onto this queue, which the application registers. Default: where it waited before. */
  readonly queue?: string;
  /** With `queue`; the lowest first. Default: as before. */
  readonly priority?: number;
  /** With `queue`; required on a partitioned one. */
  readonly partitionKey?: string;
}

export type ResumeOptions = PlaceOptions;

/** A timeout counts from the claim of the new workflow. Default: that of the old one; its deadline does not count. */
export interface RestartOptions extends PlaceOptions, TimeLimitOptions {
  /** Of the new workflow; the same again attaches to it. Default: a UUID of version 7. */
  readonly workflowId?: string;
  /** The version of the application that runs it. Default: this process's; where it has none, that of the old one. */
  readonly applicationVersion?: string;
}

export interface ForkOptions extends RestartOptions {
  /**
   * The first step that is done anew: its position, the first of a name, or the last that failed (where none did, all that
   * is recorded stands and the code goes on from there). What lies before it is copied.
   */
  readonly from: number | { readonly step: string } | 'failure';
}

/** A new workflow, and the one whose steps it began with. */
export interface ForkReport {
  readonly workflowId: string;
  readonly forkedFrom: string;
}

/** Bounds a statement and its locks. */
const MAX_IDS = 10_000;

/** @throws InvalidArgumentError */
export function checkedIds(workflowIds: WorkflowIds): readonly string[] {
  const ids = typeof workflowIds === 'string' ? [workflowIds] : workflowIds;
  if (!Array.isArray(ids)) throw new InvalidArgumentError('Give a workflow id, or a list of them.');
  if (ids.length > MAX_IDS) {
    throw new InvalidArgumentError(
      `At most ${MAX_IDS} workflows can be given at once, not ${ids.length}. Give them in parts.`,
    );
  }
  return Array.from(ids as readonly unknown[], (id) => assertIdentifier('A workflow id', id)); // holes, too
}

/** @throws InvalidArgumentError */
export function versionTarget(
  target: WorkflowIds | VersionFilter,
): readonly string[] | VersionFilter {
  if (typeof target === 'string' || Array.isArray(target)) return checkedIds(target);
  const { applicationVersion, name } = target as VersionFilter;
  return {
    applicationVersion: assertIdentifier('applicationVersion', applicationVersion),
    ...(name !== undefined && { name: assertIdentifier('A workflow name', name) }),
  };
}

/** @throws InvalidArgumentError */
export function askedBy({ by }: ActionOptions): Asked {
  return { by: by === undefined ? null : assertIdentifier('`by`', by) };
}

/** @throws InvalidArgumentError */
export function familyOf({ children = false, ...options }: FamilyOptions): Family {
  if (typeof children !== 'boolean')
    throw new InvalidArgumentError(`children must be true or false, not ${shown(children)}.`);
  return { children, ...askedBy(options) };
}

/**
 * @returns undefined for where it was before
 * @throws UnknownQueueError, InvalidArgumentError
 */
export function placeOn(queues: QueueRegistry, options: PlaceOptions): Place | undefined {
  const { queue, priority, partitionKey } = options;
  if (queue !== undefined) {
    const given = {
      ...(priority !== undefined && { priority }),
      ...(partitionKey !== undefined && { partitionKey }),
    };
    return placementOn(queues.get(queue), given);
  }
  if (priority === undefined && partitionKey === undefined) return undefined;
  throw new InvalidArgumentError('A priority or a partitionKey is given with a queue.');
}
