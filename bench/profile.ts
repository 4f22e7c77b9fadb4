/** `npm run profile -- S3`: one scenario of ours; where its CPU time goes, in node and in PostgreSQL. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Director } from './harness/director.js';
import { loadScenario } from './harness/scenario.js';
import { BenchServer } from './harness/server.js';
import { profileOptionsOf } from './options.js';
import { selfTimes, type CpuProfile } from './report/self-times.js';
import { selfTimeTable, statementTable } from './report/profile-tables.js';

const DATABASE = 'bench_profile';

const { scenario, contestant, quick } = profileOptionsOf(process.argv.slice(2));
const folder = await mkdtemp(join(tmpdir(), 'bench-profile-'));
const server = await BenchServer.start({ planning: true });
try {
  const profile = join(folder, 'profile.cpuprofile');
  await server.createDatabase(DATABASE);
  await server.forgetStatements();
  const { direct, sizes } = await loadScenario(scenario);
  const director = new Director(server, DATABASE, { contestant, scenario, quick, profile });
  const { value } = await direct(director, quick ? sizes.quick : sizes.full);
  const recorded = JSON.parse(await readFile(profile, 'utf8')) as CpuProfile;
  process.stdout.write(
    `${scenario} ${contestant}: ${value.toFixed(1)} (slower than unprofiled)\n\n`,
  );
  process.stdout.write(`${selfTimeTable(selfTimes(recorded))}\n`);
  process.stdout.write(`${statementTable(await server.statements(DATABASE))}\n`);
} finally {
  await server.dropDatabase(DATABASE);
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}
