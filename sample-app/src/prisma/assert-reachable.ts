/** A database that does not answer, told in one line at the start instead of waited for. */
import type { PrismaClient } from '../generated/prisma/client.js';

/** @throws Error naming the database and what is wrong with it */
export async function assertReachable(prisma: PrismaClient, databaseUrl: string): Promise<void> {
  try {
    await prisma.$queryRaw`SELECT 1`;
  } catch (error) {
    const { host, pathname } = new URL(databaseUrl);
    throw new Error(`The database at ${host}${pathname} does not answer: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** Prisma's messages are a paragraph that ends with what the driver or the server said. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /Message: `(.+)`/.exec(message)?.[1] ?? message.trim();
}
