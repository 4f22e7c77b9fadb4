/** Tokens in PostgreSQL. */
import type { NewToken, TokenRecord, TokenRepository } from '../repository/token-repository.js';
import type { Querying } from './database.js';

export class PrismaTokenRepository implements TokenRepository {
  constructor(private readonly database: Querying) {}

  async create({ owner, stepId, digest, expiresAt, step }: NewToken): Promise<boolean> {
    const token = JSON.stringify({
      workflow_id: owner.workflowId,
      executor_id: owner.executorId,
      epoch: owner.epoch,
      step_id: stepId,
      ...digest,
      expires_at: expiresAt,
    });
    const record =
      step &&
      JSON.stringify({
        name: step.name,
        serialization: step.output.format,
        output: step.output.text,
      });
    const [row] = await this.database.query<{ owned: boolean }>(
      (client) => client.$queryRaw`
        SELECT owned FROM dbos.create_token(${token}::json, ${record ?? null}::json)`,
    );
    return row?.owned ?? false;
  }

  async find(id: string): Promise<TokenRecord | undefined> {
    const [row] = await this.database.query<TokenRecord>(
      (client) => client.$queryRaw`
        SELECT id, proof, workflow_id AS "workflowId", step_id AS "stepId"
          FROM dbos.tokens
         WHERE id = ${id}`,
    );
    return row;
  }
}
