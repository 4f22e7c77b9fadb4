/** A past for DBOS Transact: rows as it leaves them itself behind a workflow of one step that was started directly. */
export function pastSql(workflows: number): readonly string[] {
  return [
    `WITH ended AS (
       INSERT INTO dbos.workflow_status
              (workflow_uuid, status, name, authenticated_user, assumed_role, authenticated_roles, executor_id,
               created_at, updated_at, application_version, application_id, recovery_attempts, serialization,
               completed_at, application_name, creator_xid)
       SELECT gen_random_uuid()::text, 'SUCCESS', 'run', '', '', '[]', 'bench',
              at, at + 10, 'bench', '', 1, 'js_superjson',
              at + 10, 'bench', gen_random_uuid()::text
         FROM generate_series(1, ${workflows}) AS n,
              LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint
                              - (${workflows} - n + 1) * 2000::bigint) AS t (at)
       RETURNING workflow_uuid, created_at
     ), inputs AS (
       INSERT INTO dbos.workflow_input (workflow_uuid, inputs, retention_timestamp)
       SELECT workflow_uuid, '{"json":[1],"__dbos_serializer":"superjson"}', created_at FROM ended
     ), outputs AS (
       INSERT INTO dbos.workflow_output (workflow_uuid, output, retention_timestamp)
       SELECT workflow_uuid, '{"json":1,"__dbos_serializer":"superjson"}', created_at + 10 FROM ended
     )
     INSERT INTO dbos.operation_outputs
            (workflow_uuid, function_id, function_name, output, started_at_epoch_ms, completed_at_epoch_ms,
             serialization, application_name, retention_timestamp)
     SELECT workflow_uuid, 0, 'add', '{"json":1,"__dbos_serializer":"superjson"}', created_at + 5, created_at + 6,
            'js_superjson', 'bench', created_at + 6
       FROM ended`,
  ];
}
