/** The unit of change: one transaction that holds the wishes, the events about them and the new assignment revisions
 * of the nodes concerned. Only after its commit is anybody woken. */
import type { OpenDatabase, Sql } from "./database.ts";
import { insertEvent, type NewEvent } from "./events.ts";
import { bumpAssignmentRevision } from "./nodes.ts";

export type Unit = {
  readonly sql: Sql;
  /** RFC 3339, the same for everything in the unit. */
  readonly now: string;
  readonly nowMs: number;
  readonly newId: () => string;
  readonly emit: (event: NewEvent) => void;
  /** Says that what the node is told has changed. Returns the revision that carries it, one for the whole unit. */
  readonly touchNode: (nodeId: string) => number;
  readonly noteWait: (wait: Wait) => void;
};

export type Changes = {
  readonly nodes: ReadonlySet<string>;
  readonly events: readonly CommittedEvent[];
  readonly waits: readonly Wait[];
};

export type CommittedEvent = Pick<NewEvent, "type" | "tenant" | "subject">;

/** How long something took that ends with this unit; counted when it is committed. */
export type Wait = { readonly what: "placement" | "start"; readonly ms: number };

export type Store = {
  /** For reads; each statement on its own. */
  readonly sql: Sql;
  /** Runs `work` in one transaction: all of it lasts, or, when it throws, nothing. */
  readonly write: <Result>(work: (unit: Unit) => Result) => Result;
  /** As `write`, but takes everything back at the end: a dry run by the same code. */
  readonly rehearse: <Result>(work: (unit: Unit) => Result) => Result;
};

export type StoreOptions = {
  readonly database: OpenDatabase;
  readonly nowMs: () => number;
  /** A short random id: lower-case letters and digits. */
  readonly newId: () => string;
  readonly eventsMax: number;
  /** Last in each transaction that is kept. */
  readonly beforeCommit?: (unit: Pick<Unit, "sql" | "now">) => void;
  readonly onCommit: (changes: Changes) => void;
};

export function createStore(options: StoreOptions): Store {
  const { sql } = options.database;
  const run = <Result>(work: (unit: Unit) => Result, keep: boolean): Result => {
    const revisions = new Map<string, number>();
    const events: CommittedEvent[] = [];
    const waits: Wait[] = [];
    let outcome: { readonly result: Result } | undefined;
    try {
      sql.transaction(
        (begun) => {
          const transaction: Sql = Object.assign(begun, { database: sql });
          const nowMs = options.nowMs();
          const now = new Date(nowMs).toISOString();
          outcome = {
            result: work({
              sql: transaction,
              now,
              nowMs,
              newId: options.newId,
              emit: (event) => {
                insertEvent(transaction, { ...event, at: now }, options.eventsMax);
                events.push(event);
              },
              noteWait: (wait) => void waits.push(wait),
              touchNode: (nodeId) => {
                const revision =
                  revisions.get(nodeId) ?? bumpAssignmentRevision(transaction, nodeId);
                revisions.set(nodeId, revision);
                return revision;
              },
            }),
          };
          if (!keep) throw new RehearsalOver();
          options.beforeCommit?.({ sql: transaction, now });
        },
        { behavior: "immediate" },
      );
    } catch (error) {
      if (!(error instanceof RehearsalOver) || outcome === undefined) throw error;
      return outcome.result;
    }
    if (outcome === undefined) throw new Error("a transaction ended without its work");
    options.onCommit({ nodes: new Set(revisions.keys()), events, waits });
    return outcome.result;
  };
  return {
    sql,
    write: (work) => run(work, true),
    rehearse: (work) => run(work, false),
  };
}

/** Makes the transaction roll back; never leaves this module. */
class RehearsalOver extends Error {}
