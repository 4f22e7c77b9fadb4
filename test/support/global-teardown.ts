// Closes the test run after Jest's last worker has ended.
import { takeOpenTestRun } from './global-setup.js';

export async function endTestRun(): Promise<void> {
  await takeOpenTestRun()?.close();
}
