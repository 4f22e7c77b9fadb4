/** CPU time of a PostgreSQL server: its postmaster, the children that live, and those it has buried. */
import { readdir, readFile } from 'node:fs/promises';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

interface ProcessTimes {
  readonly parent: number;
  readonly ownTicks: number;
  /** Of its children that have ended. */
  readonly buriedTicks: number;
}

/** Undefined where there is no /proc. */
export async function postgresCpuMs(postmaster: number): Promise<number | undefined> {
  const main = await timesOf(postmaster);
  if (!main) return undefined;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const all = await Promise.all(pids.map((pid) => timesOf(Number(pid))));
  const children = all.filter((times) => times?.parent === postmaster);
  const living = children.reduce((sum, times) => sum + (times?.ownTicks ?? 0), 0);
  return (main.ownTicks + main.buriedTicks + living) * MS_PER_TICK;
}

/** proc(5): after the name in parentheses come state, ppid (4), … utime (14), stime, cutime, cstime. */
async function timesOf(pid: number): Promise<ProcessTimes | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined; // ended meanwhile
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3] ?? 0);
  return {
    parent: field(4),
    ownTicks: field(14) + field(15),
    buriedTicks: field(16) + field(17),
  };
}
