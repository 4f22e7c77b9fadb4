// Fails on a package of production whose licence is not among those that ask for no more than their own text. Reads the
// lock, and the packages themselves where it is silent; needs no network. `node .ci/licences.mjs [folder]`
//
// What the lock marks as dev comes with no installation of ours, and what it marks as devOptional only with a tool of the
// developer that is an optional peer as well (the Prisma command line).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'PostgreSQL',
  'Python-2.0',
  'Unlicense',
]);

const folder = process.argv[2] ?? '.';
const { packages } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'));
const production = Object.entries(packages).filter(
  ([path, { dev, devOptional, link }]) => path !== '' && !dev && !devOptional && !link,
);
const refused = production
  .map(([path, { license }]) => ({ path, licence: license ?? licenceInside(path) }))
  .filter(({ licence }) => !isAllowed(licence));

for (const { path, licence } of refused)
  process.stderr.write(`${path}: ${licence ?? 'no licence'}\n`);
process.stdout.write(
  `${production.length} packages of production, ${refused.length} with a licence that is not allowed.\n`,
);
process.exitCode = refused.length > 0 ? 1 : 0;

/** As old packages say it: `licenses: [{ type: 'MIT' }]`, of which one may choose. */
function licenceInside(path) {
  try {
    const { license, licenses } = JSON.parse(
      readFileSync(join(folder, path, 'package.json'), 'utf8'),
    );
    if (license !== undefined) return license.type ?? license;
    return licenses?.map(({ type }) => type).join(' OR ');
  } catch {
    return undefined; // not installed on this platform, and the lock says nothing
  }
}

/** SPDX without nesting, which is all there is: of alternatives one must be allowed, of what holds together all. */
function isAllowed(licence) {
  if (typeof licence !== 'string') return false;
  const alternatives = licence.replaceAll(/[()]/g, '').split(/ OR /i);
  return alternatives.some((one) => one.split(/ AND /i).every((name) => ALLOWED.has(name.trim())));
}
