/** The Prisma clients of the contestants: with the settings that the guide of nestjs-dbos recommends, and bare. */
import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '../../generated/prisma/client.js';
import type { LaunchSettings } from '../../harness/contestant.js';

export function tunedClient({ url }: LaunchSettings): PrismaClient {
  const adapter = new PrismaPg(url, { statementNameGenerator });
  return new PrismaClient({ adapter, errorFormat: 'minimal' });
}

export function plainClient({ url }: LaunchSettings): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg(url) });
}

const names = new Map<string, string>();

/** `BEGIN` and the like have no plan to keep, and are counted by the server only where they have no name. */
const WITHOUT_PLAN = /^(BEGIN|COMMIT|ROLLBACK)$/;

/** One name for each text of a statement, so that PostgreSQL plans it once for a connection. */
function statementNameGenerator({ sql }: { readonly sql: string }): string {
  if (WITHOUT_PLAN.test(sql)) return '';
  const known = names.get(sql);
  if (known !== undefined) return known;
  const name = `s${names.size}`;
  names.set(sql, name);
  return name;
}
