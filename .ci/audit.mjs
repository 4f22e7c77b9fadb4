// Fails on a known weakness, high or critical, in what runs in production. Where no registry says what is known (offline, a
// mirror without advisories) it says so and passes: that is no finding, and the next run elsewhere finds what there is.
import { spawnSync } from 'node:child_process';

/** A registry that does not answer must not hold up everything else. */
const PATIENCE_MS = 8_000;

const { stdout, error } = spawnSync(
  'npm',
  ['audit', '--omit=dev', '--json', '--fetch-retries=0', `--fetch-timeout=${PATIENCE_MS / 2}`],
  { encoding: 'utf8', timeout: PATIENCE_MS, shell: process.platform === 'win32' },
);
const report = parsed(stdout);
const found = report?.metadata?.vulnerabilities;
if (!found) {
  const why = report?.statusCode ?? report?.error?.code ?? error?.code ?? 'no answer';
  process.stdout.write(`Not audited: no advisories from the registry (${why}).\n`);
} else {
  const grave = Object.values(report.vulnerabilities).filter(({ severity }) =>
    ['high', 'critical'].includes(severity),
  );
  for (const { name, severity, range } of grave)
    process.stderr.write(`${severity}: ${name} ${range}\n`);
  process.stdout.write(
    `Audited: ${found.total} known weaknesses, ${grave.length} of them high or critical.\n`,
  );
  process.exitCode = grave.length > 0 ? 1 : 0;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
