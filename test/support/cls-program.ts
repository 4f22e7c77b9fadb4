// The program of a child process: the shop of cls-shop.ts, of which its parent asks for one act after the other. A process
// of its own, since nestjs-cls is CommonJS and requires Nest, which is not: Node can do that, Jest cannot.
import type { WorkflowHandle } from 'nestjs-dbos';
import type { ClsAct, ClsQuestion } from './cls-process.js';
import { ClsShop, startClsShop } from './cls-shop.js';

const { prisma, shop, workflows, host } = await startClsShop(process.env['CLS_SHOP_URL'] ?? '');

const failureOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: { readonly code?: string; readonly message: string }) => error.code ?? error.message,
  );

const statusOf = async (id: string): Promise<string | undefined> => {
  const [row] = await prisma.$queryRaw<Array<{ status: string }>>`
    SELECT status FROM dbos.workflows WHERE id = ${id}`;
  return row?.status;
};

async function ended(handle: WorkflowHandle) {
  const failure = await failureOf(handle.result());
  const steps = await workflows.steps(handle.workflowId);
  const { parentId } = await handle.status();
  return { failure, outputs: steps.map(({ output }) => output), parentId };
}

const startHere = (id: string) => workflows.start(ClsShop, { tx: host.tx, workflowId: id }).run(id);

const acts: Record<ClsAct, (id: string) => Promise<unknown>> = {
  'run a step': async (id) => ended(await workflows.start(ClsShop).run(id)),
  'run a step that fails': async (id) => ended(await workflows.start(ClsShop).run(id, true)),
  'start a child in a step': async (id) => {
    const parent = await workflows.start(ClsShop, { workflowId: `parent ${id}` }).runChild(id);
    await parent.result();
    return ended(workflows.handle(`child ${id}`));
  },
  'call a step in a transaction': async (id) => shop.committed(() => shop.add(id)),
  'call a step in one that is rolled back': async (id) =>
    failureOf(shop.rolledBack(() => shop.add(id))),
  'wrap a step in a workflow': async (id) => ended(await workflows.start(ClsShop).wrapped(id)),
  'start in a transaction': async (id) => {
    const seenBefore = await shop.committed(async () => {
      await startHere(id);
      return statusOf(id);
    });
    return { seenBefore, ...(await ended(workflows.handle(id))) };
  },
  'start in one that is rolled back': async (id) => {
    const failure = await failureOf(shop.rolledBack(() => startHere(id)));
    return { failure, status: await statusOf(id) };
  },
  'execute beside one that is rolled back': async (id) =>
    failureOf(shop.rolledBack(() => workflows.execute(ClsShop).run(id))),
  'start without a transaction': async (id) => failureOf(startHere(id)),
};

process.on('message', ({ act, id }: ClsQuestion) => {
  void acts[act](id).then(
    async (seen) =>
      process.send?.({ seen, rows: await prisma.product.count({ where: { sku: id } }) }),
    (error: Error) => process.send?.({ failure: error.stack }),
  );
});
// Without its parent it has no purpose.
process.on('disconnect', () => process.exit());
process.send?.({ seen: 'ready' });
