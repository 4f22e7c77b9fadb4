// The processes of the demo. Only these are ever killed, and none outlives the demo, even if that is killed itself.
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { once } from 'node:events';

const END_WITH_RUNNER = new URL('../end-with-runner.mjs', import.meta.url).href;

export class ChildProcesses {
  #running = new Set();

  /**
   * @param {{ main: string, env: Record<string, string>, logFile: string }} program what it says goes to the log file
   * @returns {import('node:child_process').ChildProcess}
   */
  start({ main, env, logFile }) {
    const log = openSync(logFile, 'a');
    const child = spawn(
      process.execPath,
      ['--enable-source-maps', '--import', END_WITH_RUNNER, main],
      {
        env: { ...process.env, NO_COLOR: '1', ...env },
        // A group of its own: Ctrl-C reaches the demo only, which ends its children itself.
        detached: process.platform !== 'win32',
        stdio: ['ignore', log, log, 'ipc'],
      },
    );
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }

  /** @param {NodeJS.Signals} signal */
  async end(child, signal) {
    if (!this.#running.has(child)) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async endAll() {
    await Promise.all([...this.#running].map((child) => this.end(child, 'SIGTERM')));
  }
}
