import type { ProcessMetrics } from "@strata/protocol/agent/messages";
import type { Logger } from "pino";

import type { Auditor } from "../access/audit.ts";
import type { Authenticate } from "../access/authenticate.ts";
import type { Gate } from "../access/gate.ts";
import type { Backups } from "../backup/backups.ts";
import type { Schedule } from "../backup/schedule.ts";
import type { Config } from "../config.ts";
import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import type { Clock, Randomness } from "../domain/clock.ts";
import type { PeerBook } from "../domain/peer-book.ts";
import type { PresenceBook } from "../domain/presence.ts";
import type { ReportOrder } from "../domain/report.ts";
import type { History } from "../history/history.ts";
import type { DeltaBook } from "../images/deltas.ts";
import type { ExternalMetrics } from "../loops/external-metrics.ts";
import type { FollowedImages } from "../loops/follow.ts";
import type { StoreKeeper } from "../loops/keep-store.ts";
import type { Network } from "../loops/network.ts";
import type { PrefetchBook } from "../loops/prefetch.ts";
import type { OpenProvider } from "../loops/provision-providers.ts";
import type { ReportQueue } from "../loops/report-queue.ts";
import type { SampleBeats } from "../loops/sample-beats.ts";
import type { Wakeups } from "../loops/wakeups.ts";
import type { EpochBook } from "../operations/epoch.ts";
import type { Signer } from "../pki/authority.ts";
import type { NodeCertificate, NodeCertificateRequest } from "../pki/node-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import type { Store } from "../store/unit.ts";
import type { Rendezvous } from "../streams/rendezvous.ts";
import type { Tracing } from "../tracing/tracing.ts";
import type { Telemetry } from "./telemetry.ts";

/** What routes work with: made once, in main.ts or a test. */
export type Services = {
  readonly config: Config;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly logger: Logger;
  readonly authenticate: Authenticate;
  readonly gate: Gate;
  readonly auditor: Auditor;
  readonly images: FollowedImages;
  readonly storeKeeper: StoreKeeper;
  /** Seals the values of secrets. */
  readonly secretBox: SecretBox;
  readonly deltas: DeltaBook;
  /** Changed by a restore; agents take destructive wishes only from the one that they know. */
  readonly epoch: string;
  /** Whether the present one is confirmed, and whom it follows. */
  readonly epochs: EpochBook;
  /** One life of this program: what agents told another one has to be told again. */
  readonly bootId: string;
  readonly presence: PresenceBook;
  /** Who has which blob. */
  readonly peers: PeerBook;
  /** Which images nodes shall fetch beforehand. */
  readonly prefetch: PrefetchBook;
  readonly reportOrder: ReportOrder;
  readonly reports: ReportQueue;
  /** By node, the newest sample of each of its processes; lost with the controller. */
  readonly samples: Map<string, ReadonlyMap<string, ProcessMetrics>>;
  /** What level 1 sees of the processes. */
  readonly usage: UsageBook;
  /** What they used, over time. */
  readonly history: History;
  readonly beats: SampleBeats;
  /** Metrics that other servers know. */
  readonly external: ExternalMetrics;
  /** Subscriptions for which a metric was posted and not yet looked at. */
  readonly posted: Set<string>;
  /** Woken by node id when the node's assignments or streams change. */
  readonly nodeWakeups: Wakeups;
  /** Woken under `events` when there is a new one. */
  readonly eventWakeups: Wakeups;
  /** What nodes are told of the network, and what ingress nodes say of it. */
  readonly network: Network;
  readonly rendezvous: Rendezvous;
  readonly telemetry: Telemetry;
  readonly tracing: Tracing;
  readonly backups: Backups;
  readonly backupSchedule: Schedule;
  /** Of the main listener, known once it listens. */
  readonly publicPort: () => number;
  /** Asks the reconcile loop to look. */
  readonly reconcileSoon: () => void;
  /** As that, for a request that waits: the loop does not rest before. */
  readonly reconcileNow: () => void;
  readonly takeUrgency: () => boolean;
  /** Asks whether followers have another image to run. */
  readonly followSoon: () => void;
  /** Asks whether a certificate is wanted. */
  readonly certificatesSoon: () => void;
  /** Asks level 2 to look. */
  readonly provisionSoon: () => void;
  readonly openProvider: OpenProvider;
  /** Asks level 1 to look at this subscription out of turn. */
  readonly autoscaleSoon: (subscriptionId: string) => void;
  /** Whether the mass-loss breaker holds replacements back. */
  readonly isHeld: () => boolean;
  /** Whether streams shall end and come back later. */
  readonly isStopping: () => boolean;
  readonly pki: {
    readonly caPem: string;
    /** The CA for the hosts of tenants. */
    readonly ingress: Signer;
    readonly caFingerprint: string;
    /** For curl's --pinnedpubkey; undefined where TLS is off. */
    readonly publicKeyPin: string | undefined;
    /** Undefined when the key is none that we sign. */
    readonly issueNodeCertificate: (
      request: NodeCertificateRequest,
    ) => Promise<NodeCertificate | undefined>;
    /** The secret of a join token, from its id. */
    readonly joinSecret: (tokenId: string) => string;
  };
};

/** What is kept in memory of a node that is no more. */
export function forgetNodeInMemory(
  {
    presence,
    samples,
    usage,
    reportOrder,
    peers,
    epochs,
    network,
  }: Pick<
    Services,
    "presence" | "samples" | "usage" | "reportOrder" | "peers" | "epochs" | "network"
  >,
  nodeId: string,
): void {
  presence.forget(nodeId);
  samples.delete(nodeId);
  usage.forget(nodeId);
  reportOrder.forget(nodeId);
  peers.forget(nodeId);
  network.forgetNode(nodeId);
  epochs.forgetNode(nodeId);
}
