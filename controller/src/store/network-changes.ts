/** What has changed of that which nodes are told of the network. SQLite itself says so, so nobody who writes has to. */
import type Database from "better-sqlite3";

export type NetworkChanges = {
  /** Since the last call: nobody is told twice. */
  readonly take: () => {
    /** Ids of subscriptions that say something else, but for what their processes do. */
    readonly services: readonly string[];
    /** Nodes, their addresses, roles or presence. */
    readonly nodes: boolean;
    /** Routes, certificates and challenges. */
    readonly ingress: boolean;
  };
};

type Kind = "service" | "nodes" | "ingress";

/** `insert or ignore` would take over what the statement around it does about conflicts. */
function note(kind: Kind, ids: string): string {
  return `begin insert into changed_network select distinct '${kind}', id from (${ids}) as found
    where not exists (select 1 from changed_network where kind = '${kind}' and id = found.id); end;`;
}

const noteNodes = note("nodes", "select '' as id");
const noteIngress = note("ingress", "select '' as id");

/** Whatever happens to the rows of a table that is about ingresses alone. */
function noteTable(table: string): string {
  return ["insert", "update", "delete"]
    .map(
      (what) =>
        `create temp trigger note_${what}_${table} after ${what} on main.${table} ${noteIngress}`,
    )
    .join("\n  ");
}

/** In memory and of this connection alone; what a transaction that is taken back noted is taken back as well. */
const NOTE_CHANGES = `
  create temp table changed_network (kind text, id text, primary key (kind, id)) without rowid;
  create temp trigger note_new_service after insert on main.subscriptions
    ${note("service", "select new.id as id")}
  create temp trigger note_changed_service after update on main.subscriptions
    when old.generation is not new.generation or old.deleted_at is not new.deleted_at
      or old.network is not new.network or old.service_number is not new.service_number
      or old.scaling_policy is not new.scaling_policy
    ${note("service", "select new.id as id")}
  create temp trigger note_gone_service after delete on main.subscriptions
    ${note("service", "select old.id as id")}
  create temp trigger note_changed_policy after update on main.scaling_policies
    ${note("service", "select id from main.subscriptions where scaling_policy = new.name")}
  create temp trigger note_new_node after insert on main.nodes ${noteNodes}
  create temp trigger note_gone_node after delete on main.nodes ${noteNodes}
  create temp trigger note_changed_node after update on main.nodes
    when old.address is not new.address or old.roles is not new.roles
      or old.partition is not new.partition or old.presence is not new.presence
    ${noteNodes}
  create temp trigger note_moved_node after update on main.nodes
    when old.address is not new.address
    ${note("service", "select subscription_id as id from main.processes where node_id = new.id")}
  create temp trigger note_roles after update on main.partitions
    when old.roles is not new.roles
    ${noteNodes}
  create temp trigger note_new_route after insert on main.routes ${noteIngress}
  create temp trigger note_changed_route after update on main.routes ${noteIngress}
  create temp trigger note_gone_route after delete on main.routes ${noteIngress}
  ${["certificates", "host_certificates", "acme_challenges"].map(noteTable).join("\n  ")}
`;

/** Of a database whose tables are as they shall be. */
export function openNetworkChanges(client: Database.Database): NetworkChanges {
  client.pragma("temp_store = memory");
  client.exec(NOTE_CHANGES);
  const read = client.prepare<[], [string, string]>("select kind, id from changed_network").raw();
  const forget = client.prepare("delete from changed_network");
  return {
    take: () => {
      const noted = read.all();
      if (noted.length > 0) forget.run();
      return {
        services: noted.flatMap(([kind, id]) => (kind === "service" ? [id] : [])),
        nodes: noted.some(([kind]) => kind === "nodes"),
        ingress: noted.some(([kind]) => kind === "ingress"),
      };
    },
  };
}
