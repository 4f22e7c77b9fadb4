/** What the transaction steps of all contestants write: the application's own table, through its own model. */
import type { Prisma, PrismaClient } from '../../generated/prisma/client.js';

export async function createNotes(prisma: PrismaClient): Promise<void> {
  await prisma.$executeRaw`CREATE TABLE "Note" (id integer PRIMARY KEY, text text NOT NULL)`;
}

/** The application's SQL of one transaction step: one `INSERT … RETURNING`. */
export async function writeNote(tx: Prisma.TransactionClient, id: number): Promise<number> {
  const note = await tx.note.create({ data: { id, text: 'written in a transaction step' } });
  return note.id;
}
