/** Every kind of resource, with its columns. A new kind is one entry here. */
import type { Certificate } from "@strata/protocol/api/certificates";
import type { Job } from "@strata/protocol/api/jobs";
import type { ProviderResource, VmResource } from "@strata/protocol/api/providers";
import type {
  Cartridge,
  JoinTokenResource,
  Node,
  Partition,
  PartitionPolicyResource,
  Process,
  ScalingPolicyResource,
  Secret,
  Subscription,
} from "@strata/protocol/api/resources";
import type { Route } from "@strata/protocol/api/routes";
import type {
  RetentionPolicyResource,
  SignaturePolicyResource,
  StoreQuotaResource,
} from "@strata/protocol/api/store-rules";
import type { Tenant } from "@strata/protocol/api/tenants";
import type { TokenResource } from "@strata/protocol/api/tokens";
import type { Volume } from "@strata/protocol/api/volumes";
import { formatBytes } from "@strata/protocol/format-bytes";
import type { z } from "zod";

import { CliError } from "../errors.ts";
import { formatAge } from "../output/age.ts";
import { type ColumnOf, defineKind, type Kind } from "./kind.ts";

const name: ColumnOf<{ readonly name: string }> = { title: "NAME", cell: (item) => item.name };
const age: ColumnOf<{ readonly createdAt: string }> = {
  title: "AGE",
  cell: (item, now) => formatAge(item.createdAt, now),
};
const none = "-";

const subscriptions = defineKind<Subscription>({
  kind: "Subscription",
  names: ["subscriptions", "subscription", "subs", "sub"],
  path: "/v1/subscriptions",
  isTenanted: true,
  nameOf: (item) => item.alias,
  columns: [
    { title: "ALIAS", cell: (item) => item.alias },
    { title: "CARTRIDGE", cell: (item) => item.cartridge },
    { title: "PARTITION", cell: (item) => item.partition },
    { title: "READY", cell: ({ status }) => `${status.ready}/${status.desired}` },
    { title: "STATUS", cell: ({ status }) => status.message ?? "as wished" },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    { title: "GENERATION", cell: (item) => String(item.generation), isWide: true },
    age,
  ],
});

const processes = defineKind<Process>({
  kind: "Process",
  names: ["processes", "process", "procs", "ps"],
  path: "/v1/processes",
  nameOf: (item) => item.id,
  isTenanted: true,
  columns: [
    { title: "ID", cell: (item) => item.id },
    { title: "STATE", cell: (item) => (item.frozen ? "frozen" : item.state) },
    { title: "READY", cell: (item) => (item.ready ? "yes" : "no") },
    { title: "RESTARTS", cell: (item) => String(item.restarts) },
    { title: "NODE", cell: (item) => item.node ?? none },
    { title: "ENDPOINT", cell: ({ endpoints: [first] }) => first?.url ?? none },
    { title: "ADDRESS", cell: (item) => item.address ?? none, isWide: true },
    { title: "PID", cell: (item) => String(item.pid ?? none), isWide: true },
    {
      title: "MEMORY",
      cell: ({ metrics }) => (metrics === null ? none : `${formatBytes(metrics.memoryBytes)}B`),
      isWide: true,
    },
    { title: "REASON", cell: ({ reason }) => reason?.message ?? none, isWide: true },
    age,
  ],
});

const nodes = defineKind<Node>({
  kind: "Node",
  names: ["nodes", "node"],
  path: "/v1/nodes",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "PARTITION", cell: (item) => item.partition },
    { title: "STATE", cell: (item) => item.state },
    { title: "PROCESSES", cell: (item) => String(item.processes) },
    { title: "CPU", cell: (item) => share(item, "cpuMillis", (millis) => String(millis / 1000)) },
    {
      title: "MEMORY",
      cell: (item) => share(item, "memoryBytes", (bytes) => `${formatBytes(bytes)}B`),
    },
    { title: "ADDRESS", cell: (item) => item.address },
    { title: "KERNEL", cell: (item) => item.kernel, isWide: true },
    { title: "AGENT", cell: (item) => item.agentVersion, isWide: true },
    { title: "UPGRADE", cell: (item) => item.upgrade?.state ?? none, isWide: true },
    { title: "ID", cell: (item) => item.id, isWide: true },
    age,
  ],
});

const partitions = defineKind<Partition>({
  kind: "Partition",
  names: ["partitions", "partition", "parts", "part"],
  path: "/v1/partitions",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "POLICY", cell: (item) => item.policy ?? none },
    { title: "NODES", cell: ({ status }) => `${status.nodesReady}/${status.nodes}` },
    { title: "PROCESSES", cell: ({ status }) => String(status.processes) },
    { title: "DESCRIPTION", cell: (item) => item.description, isWide: true },
    age,
  ],
});

const cartridges = defineKind<Cartridge>({
  kind: "Cartridge",
  names: ["cartridges", "cartridge", "carts", "cart"],
  path: "/v1/cartridges",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "IMAGE", cell: (item) => item.image },
    { title: "PARTITION", cell: (item) => item.partition ?? none },
    { title: "DIGEST", cell: (item) => item.digest, isWide: true },
    { title: "DESCRIPTION", cell: (item) => item.description, isWide: true },
    age,
  ],
});

const partitionPolicies = defineKind<PartitionPolicyResource>({
  kind: "PartitionPolicy",
  names: ["partition-policies", "partition-policy", "pp"],
  path: "/v1/partition-policies",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "MIN", cell: (item) => String(item.minNodes) },
    { title: "MAX", cell: (item) => String(item.maxNodes) },
    age,
  ],
});

const providers = defineKind<ProviderResource>({
  kind: "Provider",
  names: ["providers", "provider"],
  path: "/v1/providers",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "KIND", cell: (item) => item.kind },
    { title: "FLAVORS", cell: ({ flavors }) => Object.keys(flavors).join(",") || none },
    { title: "VMS", cell: ({ status }) => String(status.vms) },
    age,
  ],
});

const vms = defineKind<VmResource>({
  kind: "Vm",
  names: ["vms", "vm"],
  path: "/v1/vms",
  nameOf: (item) => item.id,
  columns: [
    { title: "ID", cell: (item) => item.id },
    { title: "STATE", cell: (item) => item.state },
    { title: "PARTITION", cell: (item) => item.partition },
    { title: "OFFER", cell: (item) => item.offer },
    { title: "NODE", cell: (item) => item.node ?? none },
    { title: "PROBLEM", cell: ({ problem }) => problem?.message ?? none },
    { title: "PROVIDER ID", cell: (item) => item.providerVmId ?? none, isWide: true },
    { title: "WHY", cell: (item) => item.deleteReason ?? none, isWide: true },
    age,
  ],
});

const scalingPolicies = defineKind<ScalingPolicyResource>({
  kind: "ScalingPolicy",
  names: ["scaling-policies", "scaling-policy", "sp"],
  path: "/v1/scaling-policies",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "MIN", cell: (item) => String(item.min) },
    { title: "MAX", cell: (item) => String(item.max) },
    age,
  ],
});

const signaturePolicies = defineKind<SignaturePolicyResource>({
  kind: "SignaturePolicy",
  names: ["signature-policies", "signature-policy", "sigp"],
  path: "/v1/signature-policies",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "MODE", cell: (item) => item.mode },
    { title: "REPOSITORIES", cell: (item) => item.repositories.join(", ") },
    { title: "KEYS", cell: (item) => item.keys.map((key) => key.name).join(", ") || none },
    age,
  ],
});

const retentionPolicies = defineKind<RetentionPolicyResource>({
  kind: "RetentionPolicy",
  names: ["retention-policies", "retention-policy", "rp"],
  path: "/v1/retention-policies",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "REPOSITORIES", cell: (item) => item.repositories.join(",") },
    { title: "KEEPS LAST", cell: (item) => String(item.keepLast ?? none) },
    { title: "KEEPS TAGS", cell: (item) => item.keepTags?.join(",") ?? none },
    age,
  ],
});

const storeQuotas = defineKind<StoreQuotaResource>({
  kind: "StoreQuota",
  names: ["store-quotas", "store-quota", "quotas", "quota"],
  path: "/v1/store-quotas",
  nameOf: (item) => item.name,
  columns: [name, { title: "BYTES", cell: (item) => formatBytes(item.bytes) }, age],
});

const tenants = defineKind<Tenant>({
  kind: "Tenant",
  names: ["tenants", "tenant"],
  path: "/v1/tenants",
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "PROCESSES", cell: (item) => used(item, "processes", String) },
    { title: "CPU", cell: (item) => used(item, "cpu", String) },
    { title: "MEMORY", cell: (item) => used(item, "memory", (bytes) => `${formatBytes(bytes)}B`) },
    {
      title: "STORAGE",
      cell: (item) => used(item, "storage", (bytes) => `${formatBytes(bytes)}B`),
    },
    { title: "DESCRIPTION", cell: (item) => item.description, isWide: true },
    age,
  ],
});

/** Use of quota; without a quota the use alone. */
function used(
  { status, quota }: Tenant,
  dimension: keyof Tenant["quota"],
  show: (amount: number) => string,
): string {
  const amount = status[dimension];
  const most = quota[dimension];
  const now = amount === null ? none : show(amount);
  return most === null ? now : `${now}/${show(most)}`;
}

const tokens = defineKind<TokenResource>({
  kind: "Token",
  names: ["tokens", "token"],
  path: "/v1/tokens",
  isListOnly: true,
  nameOf: (item) => item.id,
  columns: [
    { title: "ID", cell: (item) => item.id },
    name,
    { title: "SCOPE", cell: (item) => item.scope },
    { title: "TENANT", cell: (item) => item.tenant },
    { title: "EXPIRES", cell: (item) => item.expiresAt ?? "never" },
    {
      title: "USED",
      cell: (item, now) => (item.lastUsedAt === null ? none : formatAge(item.lastUsedAt, now)),
    },
    age,
  ],
});

const joinTokens = defineKind<z.infer<typeof JoinTokenResource>>({
  kind: "JoinToken",
  names: ["join-tokens", "join-token"],
  path: "/v1/join-tokens",
  isListOnly: true,
  nameOf: (item) => item.id,
  columns: [
    { title: "ID", cell: (item) => item.id },
    { title: "PARTITION", cell: (item) => item.partition },
    { title: "USES LEFT", cell: (item) => String(item.usesLeft) },
    { title: "EXPIRES", cell: (item) => item.expiresAt },
    age,
  ],
});

const secrets = defineKind<Secret>({
  kind: "Secret",
  names: ["secrets", "secret"],
  path: "/v1/secrets",
  isTenanted: true,
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "VERSION", cell: (item) => String(item.version) },
    { title: "CHANGED", cell: (item, now) => formatAge(item.updatedAt, now) },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    age,
  ],
});

const certificates = defineKind<Certificate>({
  kind: "Certificate",
  names: ["certificates", "certificate", "certs", "cert"],
  path: "/v1/certificates",
  isTenanted: true,
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "SOURCE", cell: (item) => item.source },
    { title: "STATE", cell: ({ status }) => status.state },
    { title: "HOSTS", cell: (item) => item.hosts.join(",") },
    { title: "ENDS", cell: ({ status }) => status.notAfter ?? none },
    { title: "ISSUER", cell: ({ status }) => status.issuer ?? none, isWide: true },
    { title: "MESSAGE", cell: ({ status }) => status.message ?? none, isWide: true },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    age,
  ],
});

const jobs = defineKind<Job>({
  kind: "Job",
  names: ["jobs", "job"],
  path: "/v1/jobs",
  isTenanted: true,
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "CARTRIDGE", cell: (item) => item.cartridge },
    { title: "CRON", cell: (item) => item.cron ?? none },
    { title: "RUNNING", cell: ({ status }) => String(status.running) },
    { title: "LAST", cell: ({ status }) => status.lastRun?.state ?? none },
    {
      title: "NEXT",
      cell: ({ status, suspended }) => (suspended ? "suspended" : (status.nextRunAt ?? none)),
    },
    { title: "ZONE", cell: (item) => item.timezone, isWide: true },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    age,
  ],
});

const routes = defineKind<Route>({
  kind: "Route",
  names: ["routes", "route"],
  path: "/v1/routes",
  isTenanted: true,
  nameOf: (item) => item.name,
  columns: [
    name,
    {
      title: "HOSTS",
      cell: ({ hosts, tcpPort }) =>
        typeof tcpPort === "number" ? `tcp ${tcpPort}` : hosts.join(","),
    },
    { title: "PATH", cell: (item) => item.path },
    { title: "READY", cell: ({ status }) => String(status.ready) },
    { title: "STATUS", cell: ({ status }) => status.message ?? "as wished" },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    age,
  ],
});

const volumes = defineKind<Volume>({
  kind: "Volume",
  names: ["volumes", "volume", "vols", "vol"],
  path: "/v1/volumes",
  isTenanted: true,
  nameOf: (item) => item.name,
  columns: [
    name,
    { title: "STATE", cell: (item) => item.state },
    { title: "NODE", cell: (item) => item.node ?? none },
    { title: "WRITER", cell: (item) => item.holder ?? none },
    { title: "TENANT", cell: (item) => item.tenant, isWide: true },
    age,
  ],
});

export const kinds: readonly Kind[] = [
  subscriptions,
  jobs,
  routes,
  volumes,
  processes,
  cartridges,
  partitions,
  nodes,
  scalingPolicies,
  partitionPolicies,
  providers,
  vms,
  retentionPolicies,
  signaturePolicies,
  storeQuotas,
  secrets,
  certificates,
  tenants,
  tokens,
  joinTokens,
];

/** @throws CliError USAGE */
export function requireKind(text: string): Kind {
  const wanted = text.toLowerCase();
  const found = kinds.find(
    (kind) => kind.names.includes(wanted) || kind.kind.toLowerCase() === wanted,
  );
  if (found !== undefined) return found;
  const known = kinds.map((kind) => kind.names[0]).join(", ");
  throw new CliError("USAGE", `there is no kind ${JSON.stringify(text)}`, {
    hint: `known are: ${known}`,
  });
}

function share(
  node: Node,
  what: "cpuMillis" | "memoryBytes",
  format: (value: number) => string,
): string {
  return `${format(node.allocated[what])}/${format(node.capacity[what])}`;
}
