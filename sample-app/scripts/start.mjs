// Starts the sample shop from a fresh checkout: client, build, database, application; Ctrl-C ends all of it.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { buildSampleApp, MAIN } from './build-sample-app.mjs';
import { ensureDatabase } from './ensure-database.mjs';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

// Whatever folder it is called from, .env and .postgres are the repository's.
process.chdir(fileURLToPath(new URL('../..', import.meta.url)));

try {
  process.exitCode = await start();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function start() {
  await buildSampleApp(say);
  const database = await ensureDatabase(say);
  try {
    return await runShop(database.url);
  } finally {
    await database.release();
  }
}

/** Runs the application until it ends, and returns its exit code. */
async function runShop(databaseUrl) {
  const preload = new URL('end-with-runner.mjs', import.meta.url).href;
  const shop = spawn(process.execPath, ['--enable-source-maps', '--import', preload, MAIN], {
    env: { ...process.env, DATABASE_URL: databaseUrl },
    // A group of its own: Ctrl-C in the terminal reaches us only, and is passed on once.
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  say(
    `The shop starts as process ${shop.pid}: 'kill -9 ${shop.pid}' in mid-order, then 'npm start' again`,
  );
  const passOn = (signal) => shop.kill(signal);
  for (const signal of SIGNALS) process.on(signal, passOn);
  const { code, signal } = await new Promise((resolve, reject) => {
    shop.once('error', reject);
    shop.once('exit', (exitCode, exitSignal) => resolve({ code: exitCode, signal: exitSignal }));
  });
  if (signal === 'SIGKILL')
    say(`The shop was killed. What it left unfinished goes on with the next 'npm start'`);
  return code ?? 128 + constants.signals[signal];
}

function say(line) {
  process.stdout.write(`[start] ${line.replaceAll('\n', '\n        ')}\n`);
}
