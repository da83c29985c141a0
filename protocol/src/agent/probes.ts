/** How an agent asks a process whether it is well. */
import { z } from "zod";

const timing = {
  /** From one question to the next. */
  intervalMs: z.int().min(100).default(2000),
  timeoutMs: z.int().min(10).default(1000),
  /** Bad answers in a row that count. */
  failureThreshold: z.int().min(1).default(3),
  /** Good answers in a row that make a process ready [1]. */
  successThreshold: z.int().min(1).optional(),
};

/** Container port. */
const port = z.int().min(1).max(65535);

export const HttpProbe = z.object({
  kind: z.literal("http"),
  port,
  /** 2xx and 3xx are good answers. */
  path: z.string().startsWith("/").max(1024).default("/"),
  headers: z.record(z.string(), z.string()).optional(),
  ...timing,
});
export type HttpProbe = z.infer<typeof HttpProbe>;

/** Well when the port takes a connection. */
export const TcpProbe = z.object({ kind: z.literal("tcp"), port, ...timing });
export type TcpProbe = z.infer<typeof TcpProbe>;

/** A command inside the container; well when it ends with 0. */
export const ExecProbe = z.object({
  kind: z.literal("exec"),
  command: z.array(z.string().max(32_768)).min(1).max(1024),
  ...timing,
});
export type ExecProbe = z.infer<typeof ExecProbe>;

export const Probe = z.discriminatedUnion("kind", [HttpProbe, TcpProbe, ExecProbe]);
export type Probe = z.infer<typeof Probe>;

/** Says that there is no such probe, whatever else would say that there is one. */
export const NoProbe = z.object({ kind: z.literal("none") });
export type NoProbe = z.infer<typeof NoProbe>;

/** The readiness probe over the network. Without any a process is ready when it runs. */
export const HealthProbe = z.discriminatedUnion("kind", [HttpProbe, TcpProbe]);
export type HealthProbe = z.infer<typeof HealthProbe>;

/** All that `health` of an assignment does not say. It stands apart because agents that know no other probe refuse all
 * assignments of their node when one has a `health` of a kind that they do not know; this they pass over. */
export const MoreProbes = z.object({
  /** Until it has succeeded no other probe runs; the process is ended when it has not after its interval times its
   * failures. */
  startup: z.discriminatedUnion("kind", [HttpProbe, TcpProbe, ExecProbe, NoProbe]).optional(),
  /** Instead of `health`. `none`: not even that of the image. */
  readiness: z.discriminatedUnion("kind", [ExecProbe, NoProbe]).optional(),
  /** Its failures in a row end the process, which then starts again as after a crash. */
  liveness: Probe.optional(),
});
export type MoreProbes = z.infer<typeof MoreProbes>;
