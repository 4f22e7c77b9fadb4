#!/usr/bin/env node
/** The program `nestjs-dbos`: hands the process's arguments, environment and streams to the command line. */
import { runCommandLine } from './command-line.js';

process.exitCode = await runCommandLine(process.argv.slice(2), {
  environment: process.env,
  write: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
});
