import { DurationMs } from "@strata/protocol/units";
import { z } from "zod";

const Path = z.string().startsWith("/").max(4096);

export const IncusSettings = z
  .strictObject({
    kind: z.literal("incus"),
    /** `unix:/var/lib/incus/unix.socket`, `unix:/var/lib/lxd/unix.socket` or `https://host:8443`. */
    endpoint: z.string().regex(/^(unix:\/|https:\/\/)/, "write unix:/path or https://host:port"),
    /** For https: our certificate and key, which the server trusts, and the server's own, when it is self-signed. */
    certificateFile: Path.optional(),
    keyFile: Path.optional(),
    serverCertificateFile: Path.optional(),
    project: z.string().min(1).max(63).default("default"),
    instances: z.enum(["virtual-machine", "container"]).default("virtual-machine"),
    /** Containers only: root of the instance is root of the host's kernel. Needed for id-mapped mounts inside, and so
     * for unprivileged cartridges that share their layers. */
    privileged: z.boolean().default(false),
    pool: z.string().min(1).max(63).default("default"),
    /** One that the server manages. */
    network: z.string().min(1).max(63),
    /** How the image is told what to do first: by cloud-init, or, for containers whose image has none, by running a
     * script in them. */
    firstBoot: z.enum(["cloud-init", "exec"]).default("cloud-init"),
    /** Of one call. */
    timeout: DurationMs.refine((ms) => ms >= 1000 && ms <= 3_600_000, "from 1s to 1h").default(
      300_000,
    ),
    /** For a clean power-off, before it is forced. */
    stopGrace: DurationMs.refine((ms) => ms >= 1000 && ms <= 600_000, "from 1s to 10m").default(
      20_000,
    ),
  })
  .refine(({ instances, privileged }) => !privileged || instances === "container", {
    path: ["privileged"],
    message: "only a container can be privileged",
  })
  .refine(({ instances, firstBoot }) => firstBoot !== "exec" || instances === "container", {
    path: ["firstBoot"],
    message: "exec works in containers alone: a VM runs nothing for us before it has booted",
  });
export type IncusSettings = z.infer<typeof IncusSettings>;
