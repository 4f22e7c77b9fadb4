#!/usr/bin/env node
/** The program `nestjs-dbos`: hands the process's arguments, environment and streams to the command line. */
import { existsSync } from 'node:fs';
import { runCommandLine } from './command-line.js';

// What the environment says already goes before what the file says.
if (existsSync('.env')) process.loadEnvFile('.env');

process.exitCode = await runCommandLine(process.argv.slice(2), {
  environment: process.env,
  write: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
});
