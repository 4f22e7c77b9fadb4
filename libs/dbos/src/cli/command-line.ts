/** Reads a command line, runs the command it names, and says how that went: in words or in JSON, and by exit code. */
import { parseArgs } from 'node:util';
import { DbosError, InvalidArgumentError } from '../core/errors.js';
import { COMMANDS, type CommandOptions, type CommandResult } from './commands.js';
import { findDatabaseUrl, withoutSecrets, type Environment } from './database-url.js';

export interface Terminal {
  readonly environment: Environment;
  write(text: string): void;
  complain(text: string): void;
}

/** 0: done, and the database is up to date. 1: it is not, or the command failed. 2: the command line was wrong. */
export type ExitCode = 0 | 1 | 2;

const OPTIONS = {
  'database-url': { type: 'string' },
  application: { type: 'boolean', default: false },
  pending: { type: 'boolean', default: false },
  role: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const USAGE = `\
Usage: nestjs-dbos <command> [options]

Commands
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`)
  .join('\n')}

Options
  --database-url <url>  the database; otherwise DATABASE_URL, from the environment or from .env
  --application         what a database of the application has that is apart from the workflow tables
  --pending             sql: only what this database lacks
  --role <name>         grants: the role that the application runs as
  --json                output for programs
  -h, --help            this text
`;

export async function runCommandLine(args: string[], terminal: Terminal): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    return await run(args, terminal);
  } catch (error) {
    terminal.complain(failure(error, { json, environment: terminal.environment, args }));
    return error instanceof InvalidArgumentError ? 2 : 1;
  }
}

async function run(args: string[], terminal: Terminal): Promise<ExitCode> {
  const { values, positionals } = parse(args);
  if (values.help) {
    terminal.write(USAGE);
    return 0;
  }
  const command = COMMANDS[commandName(positionals)];
  const options: CommandOptions = {
    pending: values.pending,
    role: values.role,
    set: values.application ? 'application' : 'workflows',
    databaseUrl: () => findDatabaseUrl(values['database-url'], terminal.environment),
  };
  const result: CommandResult = await command.run(options);
  terminal.write(values.json ? `${JSON.stringify(result.data)}\n` : result.text);
  return result.upToDate ? 0 : 1;
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}\n\n${USAGE}`);
  }
}

function commandName([name, ...more]: string[]): keyof typeof COMMANDS {
  if (name !== undefined && Object.hasOwn(COMMANDS, name) && more.length === 0) {
    return name as keyof typeof COMMANDS;
  }
  throw new InvalidArgumentError(`Name one command.\n\n${USAGE}`);
}

interface FailureContext {
  readonly json: boolean;
  readonly environment: Environment;
  readonly args: readonly string[];
}

/** No password: errors of drivers may quote what they were given. */
function failure(error: unknown, { json, environment, args }: FailureContext): string {
  const code = error instanceof DbosError ? error.code : (error as { code?: unknown }).code;
  const message = withoutSecrets(describe(error), [...args, environment['DATABASE_URL']]);
  return json ? `${JSON.stringify({ error: { code, message } })}\n` : `${message}\n`;
}

/** The errors of a host with several addresses come as one without a message. */
function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  return error instanceof Error ? error.message : String(error);
}
