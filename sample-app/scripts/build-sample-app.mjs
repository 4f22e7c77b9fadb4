// Generates the Prisma client and compiles what the sample shop needs; prints the tools' output only if they fail.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The compiled application's entry. */
export const MAIN = join(ROOT, 'dist/sample-app/sample-app/src/main.js');

const STEPS = [
  { title: 'Generating the Prisma client', package: 'prisma', bin: 'prisma', args: ['generate'] },
  nestBuild('embedded-postgres'),
  nestBuild('sample-app'),
];

/** @param {(line: string) => void} say */
export async function buildSampleApp(say) {
  for (const step of STEPS) {
    const begin = Date.now();
    const { failed, output } = await run(step);
    if (failed !== undefined) throw new Error(`${step.title} failed (${failed})\n${output}`);
    say(`${step.title}: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  }
}

function nestBuild(project) {
  return {
    title: `Building ${project}`,
    package: '@nestjs/cli',
    bin: 'nest',
    args: ['build', project],
  };
}

/** Runs a package's program without a shell or npx, so that it behaves alike on every system. */
async function run(step) {
  const child = spawn(process.execPath, [programOf(step), ...step.args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ failed: error.message, output }));
    child.once('close', (code, signal) =>
      resolve({ failed: code === 0 ? undefined : `exit ${signal ?? code}`, output }),
    );
  });
}

function programOf(step) {
  const manifest = createRequire(import.meta.url).resolve(`${step.package}/package.json`);
  const { bin } = createRequire(import.meta.url)(manifest);
  return join(dirname(manifest), typeof bin === 'string' ? bin : bin[step.bin]);
}
