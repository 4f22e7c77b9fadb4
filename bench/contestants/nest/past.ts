/** A past for nestjs-dbos: rows as it leaves them itself behind a workflow of one step that was started directly. */
export function pastSql(workflows: number): readonly string[] {
  return [
    `WITH ended AS (
       INSERT INTO dbos.workflows
              (id, name, status, executor_id, epoch, serialization, input, outcome_serialization, output,
               created_at, started_at, completed_at, updated_at)
       SELECT left(ms, 8) || '-' || right(ms, 4) || '-7' || substr(gen_random_uuid()::text, 16), 'BenchWorkflows.run', 'SUCCESS', 'bench#past', 1, 'json', '[1]', 'json', '1',
              at, at, at + interval '10 ms', at + interval '10 ms'
         FROM generate_series(1, ${workflows}) AS n,
              LATERAL (SELECT now() - (${workflows} - n + 1) * interval '2 seconds') AS t (at),
              LATERAL (SELECT lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')) AS hex (ms)
       RETURNING id, created_at
     )
     INSERT INTO dbos.steps (workflow_id, step_id, name, epoch, serialization, output, started_at, completed_at)
     SELECT id, '0', 'BenchSteps.add', 1, 'json', '1',
            created_at + interval '5 ms', created_at + interval '6 ms'
       FROM ended`,
  ];
}
