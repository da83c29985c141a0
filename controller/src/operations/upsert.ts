import { describeChanges, isSame } from "../domain/canonical.ts";
import { ControllerError } from "../errors.ts";
import type { Unit } from "../store/unit.ts";

export type Stored = {
  readonly revision: number;
  readonly createdAt: string;
  readonly updatedAt: string;
};

/** What the caller says it saw: the revision of `If-Match`, "any" for `*`, or "none" for `If-None-Match: *`. */
export type Precondition = number | "any" | "none" | undefined;

export type Outcome<Row> = {
  readonly row: Row;
  readonly action: "created" | "updated" | "unchanged";
  /** One line for each field that differs. */
  readonly changes: readonly string[];
};

type Upsert<Fields extends object, Row extends Fields & Stored> = {
  readonly kind: string;
  readonly name: string;
  readonly tenant?: string;
  readonly current: Row | undefined;
  /** The fields that a PUT decides about. */
  readonly fields: Fields;
  readonly precondition: Precondition;
  readonly toRow: (fields: Fields, stored: Stored) => Row;
  readonly save: (row: Row) => void;
};

/** Creates or changes one resource and says so in an event. A PUT of what is already there changes nothing. */
export function upsert<Fields extends object, Row extends Fields & Stored>(
  unit: Unit,
  target: Upsert<Fields, Row>,
): Outcome<Row> {
  const { kind, name, current, fields } = target;
  requirePrecondition(target.precondition, current, `${kind} ${name}`);
  const before = current === undefined ? {} : pickFields(current, fields);
  const changes = describeChanges(flatten(before), flatten(fields)).map(withoutSettings);
  if (current !== undefined && isSame(before, fields))
    return { row: current, action: "unchanged", changes };
  const row = target.toRow(fields, {
    revision: (current?.revision ?? 0) + 1,
    createdAt: current?.createdAt ?? unit.now,
    updatedAt: unit.now,
  });
  target.save(row);
  const action = current === undefined ? "created" : "updated";
  unit.emit({
    type: `${kind}.${action}`,
    ...(target.tenant === undefined ? {} : { tenant: target.tenant }),
    subject: name,
    message: `${kind} ${name} was ${action}`,
    data: { revision: row.revision, changes: redact(changes) },
  });
  return { row, action, changes };
}

/** @throws ControllerError REVISION_STALE */
export function requirePrecondition(
  precondition: Precondition,
  current: Stored | undefined,
  what: string,
): void {
  if (precondition === undefined) return;
  const holds =
    precondition === "none"
      ? current === undefined
      : current !== undefined && (precondition === "any" || precondition === current.revision);
  if (holds) return;
  const present = current === undefined ? "does not exist" : `is at revision ${current.revision}`;
  throw new ControllerError("REVISION_STALE", `${what} ${present}`, {
    hint: "GET it again, merge your change, and send its ETag as If-Match",
  });
}

/** @throws ControllerError NOT_FOUND */
export function requireFound<Row>(row: Row | undefined, what: { kind: string; name: string }): Row {
  if (row !== undefined) return row;
  throw new ControllerError("NOT_FOUND", `there is no ${what.kind} ${what.name}`, {
    hint: `see GET /v1/${pathOfKind[what.kind] ?? what.kind}`,
  });
}

const pathOfKind: Readonly<Record<string, string>> = {
  partition: "partitions",
  "partition policy": "partition-policies",
  "scaling policy": "scaling-policies",
  cartridge: "cartridges",
  subscription: "subscriptions",
  job: "jobs",
  run: "jobs/{name}/runs",
  volume: "volumes",
  process: "processes",
  node: "nodes",
  token: "tokens",
  "join token": "join-tokens",
  provider: "providers",
  VM: "vms",
  "retention policy": "retention-policies",
  "store quota": "store-quotas",
  secret: "secrets",
  route: "routes",
  certificate: "certificates",
  tenant: "tenants",
};

/** @throws ControllerError IN_USE, naming up to five of the users. */
export function refuseInUse(what: string, users: readonly string[]): void {
  if (users.length === 0) return;
  const shown = users.slice(0, 5).join(", ");
  const more = users.length > 5 ? ` and ${users.length - 5} more` : "";
  throw new ControllerError("IN_USE", `${what} is used by ${shown}${more}`, {
    hint: "delete or change those first",
  });
}

type Reference = { readonly kind: string; readonly name: string };

/** @throws ControllerError REFERENCE_UNKNOWN */
export function requireReference(exists: boolean, what: Reference): void {
  if (!exists) throw unknownReference(what);
}

export function unknownReference({ kind, name }: Reference): ControllerError {
  const path = pathOfKind[kind] ?? kind;
  return new ControllerError("REFERENCE_UNKNOWN", `there is no ${kind} ${name}`, {
    hint: `create it with PUT /v1/${path}/${name}, or choose one of GET /v1/${path}`,
  });
}

function pickFields<Fields extends object>(row: Fields, fields: Fields): object {
  const names = new Set(Object.keys(fields));
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.has(name)));
}

/** As people write the fields: `running` and `policy` are stored as one value, times in milliseconds, and some fields
 * are ours. */
function flatten(fields: object): object {
  const { running, policy, ...others } = { running: {}, policy: undefined, ...fields };
  return Object.fromEntries(
    Object.entries({
      ...others,
      ...running,
      // Of a partition the policy is a name.
      ...(typeof policy === "object" ? policy : { policy }),
    })
      .filter(([name]) => !ownFields.has(name))
      .map(([name, value]: [string, unknown]) =>
        name.endsWith("Ms") && typeof value === "number"
          ? [name.slice(0, -2), `${value / 1000}s`]
          : [shownNames.get(name) ?? name, value],
      ),
  );
}

const ownFields: ReadonlySet<string> = new Set(["repository", "ownPartition", "imagePorts"]);
const shownNames: ReadonlyMap<string, string> = new Map([
  ["limits", "resources"],
  ["lostAfterMs", "lostAfter"],
  ["stopGraceMs", "stopGrace"],
]);

/** Settings of a provider may hold credentials, and files passwords, that even their writer is not shown again. */
function withoutSettings(change: string): string {
  const [, name] = /^(settings|files):/.exec(change) ?? [];
  return name === undefined ? change : `${name} changed`;
}

/** Environments hold passwords; events are read by viewers. */
function redact(changes: readonly string[]): readonly string[] {
  return changes.map((change) => (change.startsWith("env:") ? "env changed" : change));
}
