/** @jest-config-loader-options {"transpileOnly": true, "moduleTypes": {"**": "cjs"}, "compilerOptions": {"module": "CommonJS", "moduleResolution": "Bundler"}} */
// Runs the specs as ES modules through swc (see .swcrc), on one PostgreSQL that the global set-up provides.
import { readFileSync } from 'node:fs';
import type { Config } from 'jest';

/** The aliases stand in tsconfig.json only; each names one file. */
function aliasesFromTsconfig(): Record<string, string> {
  const tsconfig = JSON.parse(readFileSync('tsconfig.json', 'utf8')) as {
    compilerOptions: { paths: Record<string, [string]> };
  };
  const entries = Object.entries(tsconfig.compilerOptions.paths);
  return Object.fromEntries(
    entries.map(([alias, [file]]) => [`^${alias}$`, file.replace(/^\./, '<rootDir>')]),
  );
}

const config: Config = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test', '<rootDir>/libs', '<rootDir>/sample-app'],
  testMatch: ['**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': '@swc/jest' },
  moduleNameMapper: {
    ...aliasesFromTsconfig(),
    // Sources import './x.js', as Node wants it; beside them lies x.ts. Packages do have an x.js.
    '^(\\.{1,2}/.*)\\.js$': ['$1.ts', '$1.js'],
  },
  globalSetup: '<rootDir>/test/support/jest-global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/jest-global-teardown.mjs',
  // The server needs a core as well; more workers than that only wait for it.
  maxWorkers: process.env['JEST_MAX_WORKERS'] ?? 2,
  // ES modules of finished test files are never collected: begin a new worker before memory runs short.
  workerIdleMemoryLimit: '1GB',
  // A bound for what hangs: long enough that no slow machine comes to it, and that `eventually` tells first what is missing.
  testTimeout: 120_000,
  collectCoverageFrom: ['libs/*/src/**/*.ts', 'sample-app/src/**/*.ts', '!**/generated/**'],
};

export default config;
