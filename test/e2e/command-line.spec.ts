// `npx nestjs-dbos`: what it prints, what it returns, and what it never shows.
import { runCommandLine } from '../../libs/dbos/src/cli/command-line.js';
import { shippedMigrations } from '../../libs/dbos/src/prisma/migration-files.js';
import type { TestDatabase } from '../support/database.js';
import { createEmptyDatabase } from '../support/empty-database.js';

const names = (await shippedMigrations()).map(({ name }) => name);

interface Answer {
  readonly exitCode: number;
  readonly output: string;
  readonly complaint: string;
}

async function nestjsDbos(
  args: string[],
  environment: Record<string, string> = {},
): Promise<Answer> {
  const answer = { output: '', complaint: '' };
  const exitCode = await runCommandLine(args, {
    environment,
    write: (text) => (answer.output += text),
    complain: (text) => (answer.complaint += text),
  });
  return { exitCode, ...answer };
}

describe('npx nestjs-dbos', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createEmptyDatabase();
  });

  afterEach(() => database.drop());

  it('status answers with exit code 1 while migrations are pending', async () => {
    const { exitCode, output } = await nestjsDbos(['status', '--database-url', database.url]);

    expect(exitCode).toBe(1);
    expect(output).toContain(`pending  ${names[0]}`);
    expect(output).toContain('npx nestjs-dbos migrate');
  });

  it('migrate applies them, and status is then content', async () => {
    const migrated = await nestjsDbos(['migrate', '--database-url', database.url]);
    const status = await nestjsDbos(['status', '--database-url', database.url]);

    expect(migrated.exitCode).toBe(0);
    expect(migrated.output).toContain(`applied  ${names[0]}`);
    expect(status.exitCode).toBe(0);
    expect(status.output).toContain('up to date');
  });

  it('takes the database from DATABASE_URL', async () => {
    const { output } = await nestjsDbos(['status'], { DATABASE_URL: database.url });

    expect(output).toContain(database.name);
  });

  it('speaks JSON when asked', async () => {
    const url = ['--json', '--database-url', database.url];

    expect(JSON.parse((await nestjsDbos(['status', ...url])).output)).toEqual({
      state: 'missing',
      pending: names,
    });
    expect(JSON.parse((await nestjsDbos(['migrate', ...url])).output)).toEqual({ applied: names });
    expect(JSON.parse((await nestjsDbos(['status', ...url])).output)).toEqual({ state: 'current' });
  });

  it('--application is about what a database apart from the workflow tables has', async () => {
    const url = ['--application', '--database-url', database.url];
    const [name] = (await shippedMigrations('application')).map((migration) => migration.name);

    expect((await nestjsDbos(['status', ...url])).output).toContain(`pending  ${name}`);
    expect((await nestjsDbos(['migrate', ...url])).output).toContain(`applied  ${name}`);
    expect((await nestjsDbos(['status', ...url])).exitCode).toBe(0);
    expect((await nestjsDbos(['sql', '--application'])).output).toContain(
      'CREATE TABLE dbos.transaction_completions',
    );
  });

  it('sql prints all migrations without a database, and with --pending what one lacks', async () => {
    const all = await nestjsDbos(['sql']);
    const missing = await nestjsDbos(['sql', '--pending', '--database-url', database.url]);
    await nestjsDbos(['migrate', '--database-url', database.url]);
    const nothing = await nestjsDbos(['sql', '--pending', '--database-url', database.url]);

    expect(all.output).toContain('CREATE TABLE dbos.workflows');
    expect(missing.output).toBe(all.output);
    expect(nothing.output).toBe('-- Nothing is pending.\n');
  });

  it.each([
    [[], 'Name one command'],
    [['migrat'], 'Name one command'],
    [['status', '--nope'], "Unknown option '--nope'"],
    [['status'], 'Which database?'],
    [['status', '--database-url', 'mysql://me:hush@host/shop'], 'must look like postgresql://'],
  ])('explains a wrong command line: %j', async (args, reason) => {
    const { exitCode, complaint } = await nestjsDbos(args);

    expect(exitCode).toBe(2);
    expect(complaint).toContain(reason);
  });

  it.each(['plain', 'json'])('never shows a password (%s)', async (form) => {
    const url = 'postgresql://me:hu%40sh@localhost:1/shop?password=hu%40sh';
    const args = ['status', `--database-url=${url}`, ...(form === 'json' ? ['--json'] : [])];

    const { exitCode, output, complaint } = await nestjsDbos(args);

    expect(exitCode).toBe(1);
    expect(complaint).toContain('ECONNREFUSED');
    expect(output + complaint).not.toMatch(/hu(@|%40)sh/);
  });
});
