/** Changes of workflow code that unfinished workflows live through: a marker in the history says which way was taken. */
import { assertIdentifier } from '../core/identifiers.js';
import { checkpoint } from './checkpoint.js';
import type { RunScopes } from './run-scope.js';

/** As DBOS names it. */
const MARKER = 'DBOS.patch-';

export class Patches {
  constructor(private readonly scopes: RunScopes) {}

  /**
   * Whether the new code is to be taken: true where nothing is recorded here yet (the marker is, then) or the marker;
   * false where an older run has recorded something else, and then no id is used.
   */
  async patched(id: string): Promise<boolean> {
    const { scope, name } = this.marker('flow.patched()', id);
    if (!scope.run.mayBegin(scope.sequence.upcomingId, name)) return false;
    return checkpoint(scope, { name, effect: false, produce: () => true });
  }

  /** Passes over the marker where there is one; no id is used otherwise. */
  async deprecatePatch(id: string): Promise<void> {
    const { scope, name } = this.marker('flow.deprecatePatch()', id);
    if (!scope.run.hasRecorded(scope.sequence.upcomingId, name)) return;
    await checkpoint(scope, { name, effect: false, produce: () => true });
  }

  private marker(what: string, id: string) {
    const scope = this.scopes.require(what);
    return { scope, name: `${MARKER}${assertIdentifier('The id of a patch', id)}` };
  }
}
