import { join } from "node:path";

/** The ingress's files. All but the access log belong to one boot of the kernel. */
export type IngressPaths = {
  readonly folder: string;
  readonly config: string;
  /** Routes by host and path: exact hosts, and wildcards. */
  readonly routes: string;
  readonly wildcards: string;
  readonly challenges: string;
  readonly certificateList: string;
  /** One file of each certificate. */
  readonly certificates: string;
  /** Of the worker: servers come and go here. */
  readonly statsSocket: string;
  /** Of its master, which reaches the workers of earlier configurations too. */
  readonly masterSocket: string;
  readonly pid: string;
  /** What HAProxy itself has to say. */
  readonly messages: string;
  /** All that the worker sees of the node's files. */
  readonly root: string;
  /** Where requests are held for a subscription that sleeps; inside `root`. */
  readonly wakerSocket: string;
  readonly accessLog: string;
};

/** How the worker names `wakerSocket`. */
export const WAKER_SOCKET_IN_ROOT = "/waker.sock";

/** @param logs a folder that outlives a reboot */
export function ingressPaths(folder: string, logs: string): IngressPaths {
  const root = join(folder, "root");
  return {
    folder,
    config: join(folder, "haproxy.cfg"),
    routes: join(folder, "routes.map"),
    wildcards: join(folder, "wildcards.map"),
    challenges: join(folder, "challenges.map"),
    certificateList: join(folder, "certificates.list"),
    certificates: join(folder, "certificates"),
    statsSocket: join(folder, "stats.sock"),
    masterSocket: join(folder, "master.sock"),
    pid: join(folder, "haproxy.pid"),
    messages: join(folder, "messages.log"),
    root,
    wakerSocket: join(root, WAKER_SOCKET_IN_ROOT),
    accessLog: join(logs, "ingress.log"),
  };
}
