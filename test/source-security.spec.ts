// What can be told of security without a database: statements in the sources, comparisons, what we depend on.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { jest } from '@jest/globals';
import * as crypto from 'node:crypto';
import { builtSqlIn, builtSqlOf } from './support/built-sql.js';

/** Texts that are put together although they are SQL, and why that is safe. */
const BUILT_SQL: Readonly<Record<string, string>> = {
  'libs/dbos/src/prisma/grants.ts: grantsFor: a statement built as text':
    'GRANT takes no parameter; the name is escaped, and people read what is printed',
  'libs/dbos/src/prisma/migration-books.ts: TAKE_LOCK: a statement built as text':
    'of a number of our own, for it is printed in scripts, too',
  'libs/dbos/src/prisma/migration-errors.ts: (top): a statement built as text':
    'a message for people, with the number of a session in it',
  'libs/dbos/src/prisma/migration-script.ts: asOneStatement: a statement built as text':
    'of a migration that the library ships',
  'libs/dbos/src/prisma/migration-script.ts: parts: a statement built as text':
    'of constants, for a script that people read',
  'libs/dbos/src/prisma/migration-script.ts: sectionOf: a statement built as text':
    'of name and checksum of a migration that the library ships',
  'libs/dbos/src/prisma/migration-target.ts: prismaSession: $queryRawUnsafe':
    'sends the constants of migration-books, their values as parameters',
  'libs/dbos/src/prisma/migration-target.ts: prismaSession: $executeRawUnsafe':
    'sends migrations that the library ships',
  'libs/dbos/src/prisma/postgres-session.ts: open: query of a built text':
    'LISTEN takes no parameter; the channel is a constant and escaped',
  'libs/dbos/src/prisma/postgres-session.ts: open: a statement built as text': 'the same',
  'libs/embedded-postgres/src/connection.ts: createDatabaseIfMissing: query of a built text':
    'CREATE DATABASE takes no parameter; the name is escaped. Not part of the library',
  'libs/embedded-postgres/src/connection.ts: createDatabaseIfMissing: a statement built as text':
    'the same',
  'sample-app/scripts/demo/demo-database.mjs: createDemoDatabase: query of a built text':
    'of a constant, in the demo',
  'sample-app/scripts/demo/demo-database.mjs: createDemoDatabase: a statement built as text':
    'the same',
};

describe('Statements', () => {
  it('have parameters for values, but for a few that can have none', () => {
    const found = ['libs', 'sample-app'].flatMap(builtSqlIn);
    expect(found.sort()).toEqual(Object.keys(BUILT_SQL).sort());
  });

  it.each([
    ['client.$queryRawUnsafe(text)', '$queryRawUnsafe'],
    ["client['$executeRawUnsafe'](text)", '$executeRawUnsafe'],
    ['client.$queryRaw(Object.assign([text], { raw: [text] }))', '$queryRaw called, not a tag'],
    ['client.$queryRaw`SELECT ${Prisma.raw(column)}`', 'Prisma.raw'],
    ['pool.query(`SELECT * FROM t WHERE id = ${id}`)', 'query of a built text'],
    ["pool.query('SELECT * FROM t WHERE id = ' + id)", 'query of a built text'],
    ['const text = `UPDATE t SET a = ${a}`', 'a statement built as text'],
    ['const condition = "WHERE id = " + id', 'a statement built as text'],
  ])('that are built as text are found: %s', (source, finding) => {
    expect(builtSqlOf(source)).toContainEqual(expect.stringContaining(finding));
  });

  it('with parameters are let be', () => {
    const source = 'client.$queryRaw`SELECT * FROM t WHERE id = ${id}`; pool.query(TEXT, [id])';
    expect(builtSqlOf(source)).toEqual([]);
  });
});

describe('A token', () => {
  const known = 'k'.repeat(43);
  const { createHash } = crypto;
  const digest = createHash('sha256').update(known).digest('hex');
  const compare = jest.fn(crypto.timingSafeEqual);
  let decide: (proof: string) => Promise<unknown>;

  beforeAll(async () => {
    jest.unstable_mockModule('node:crypto', () => ({ ...crypto, timingSafeEqual: compare }));
    const { Tokens } = await import('../libs/dbos/src/engine/tokens.js');
    decide = (proof) => {
      const record = { id: digest.slice(0, 32), proof, workflowId: 'w', stepId: '0' };
      const tokens = { find: () => Promise.resolve(record) };
      return new Tokens({
        repository: { tokens },
        scopes: { outsideSteps: () => undefined },
        codec: { serializers: { encode: () => ({ text: '1', format: 'json' }) } },
        patience: { with: <T>(work: Promise<T>) => work },
        sender: { send: () => Promise.resolve('sent') },
      } as never).decide('resolveToken', known, { value: 1 });
    };
  });
  beforeEach(() => compare.mockClear());

  it('is compared as a digest and in constant time', async () => {
    await decide(digest.slice(32)).catch(() => undefined);
    expect(compare.mock.calls).toEqual([
      [Buffer.from(digest.slice(32)), Buffer.from(digest.slice(32))],
    ]);
  });

  it.each(['0'.repeat(32), '', digest])('with another proof is unknown: %p', async (proof) => {
    await expect(decide(proof)).rejects.toMatchObject({ code: 'DBOS_TOKEN_NOT_FOUND' });
  });
});

describe('The checks of what we depend on', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'dbos-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function write(path: string, content: string): string {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  function licences(packages: object): { status: number | null; complaints: string[] } {
    write('package-lock.json', JSON.stringify({ packages: { '': {}, ...packages } }));
    const { status, stderr } = run('licences', [folder]);
    return { status, complaints: stderr.split('\n').filter(Boolean) };
  }

  it('let licences pass that ask for nothing, also of a choice and as old packages say it', () => {
    write('node_modules/old/package.json', '{ "licenses": [{ "type": "MIT" }] }');
    expect(
      licences({
        'node_modules/a': { license: 'MIT' },
        'node_modules/b': { license: '(GPL-3.0 OR BSD-3-Clause)' },
        'node_modules/old': {},
        'node_modules/tool': { license: 'GPL-3.0', dev: true },
      }),
    ).toEqual({ status: 0, complaints: [] });
  });

  it.each([
    ['AGPL-3.0', 'AGPL-3.0'],
    ['MIT AND GPL-3.0', 'MIT AND GPL-3.0'],
    ['SEE LICENSE IN x', 'SEE LICENSE IN x'],
    [undefined, 'no licence'],
  ])('refuse %p in production', (license, told) => {
    const { status, complaints } = licences({ 'node_modules/a': { license } });
    expect({ status, complaints }).toEqual({ status: 1, complaints: [`node_modules/a: ${told}`] });
  });

  /** With an `npm` that answers so. */
  function audit(answer: object): { status: number | null; stdout: string; stderr: string } {
    const npm = write(
      'npm',
      `#!${process.execPath}\nconsole.log(${JSON.stringify(JSON.stringify(answer))})`,
    );
    chmodSync(npm, 0o755);
    return run('audit', [], { PATH: `${folder}${delimiter}${process.env['PATH']}` });
  }

  it('fail on a grave weakness, and name it', () => {
    const vulnerabilities = {
      bad: { name: 'bad', severity: 'critical', range: '<2' },
      fair: { name: 'fair', severity: 'low', range: '*' },
    };
    const { status, stderr } = audit({
      vulnerabilities,
      metadata: { vulnerabilities: { total: 2 } },
    });
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'critical: bad <2\n' });
  });

  it('pass where there are no advisories, and say that nothing was audited', () => {
    const { status, stdout } = audit({ statusCode: 405 });
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: 'Not audited: no advisories from the registry (405).\n',
    });
  });

  it('are part of the proof of a checkout', () => {
    const proof = readFileSync('.ci/run', 'utf8');
    expect(proof).toContain('step node .ci/licences.mjs');
    expect(proof).toContain('step node .ci/audit.mjs');
  });
});

function run(check: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [`.ci/${check}.mjs`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}
