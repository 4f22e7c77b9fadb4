// Opens the test run before Jest starts its workers, which inherit what it announces.
import { openTestRun, type OpenTestRun } from './open-test-run.js';

let openRun: OpenTestRun | undefined;

export async function startTestRun(): Promise<void> {
  openRun = await openTestRun();
}

/** For the teardown, which Jest calls in the same process. */
export function takeOpenTestRun(): OpenTestRun | undefined {
  const run = openRun;
  openRun = undefined;
  return run;
}
