import { DurationMs } from "@strata/protocol/units";
import { z } from "zod";

/** QEMU takes a comma in an option as the next one; a path with one is refused rather than quoted. */
const Path = z
  .string()
  .regex(/^\/[^,\n]*$/, "write an absolute path without a comma")
  .max(4096);

const QemuImage = z.strictObject({
  /** Never written to: every VM has an overlay of its own on it. */
  disk: Path,
  format: z.enum(["qcow2", "raw"]),
  /** Boots this kernel without firmware and boot loader, which is quicker. */
  kernel: Path.optional(),
  initrd: Path.optional(),
  /** The kernel's command line. On a busy host an emulated timer may tick too late for the kernel's check of it, which
   * then panics. */
  append: z.string().max(2048).default("root=/dev/vda rw console=ttyS0 quiet no_timer_check"),
});
export type QemuImage = z.infer<typeof QemuImage>;

export const QemuSettings = z.strictObject({
  kind: z.literal("qemu"),
  /** What a request's `image` may name. */
  images: z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/), QemuImage),
  /** `auto` takes KVM where it is, and emulates otherwise. */
  accelerator: z.enum(["auto", "kvm", "tcg"]).default("auto"),
  /** A bridge of this machine. Left out, the VM dials out by user-mode networking: it changes nothing on the host, and
   * nobody reaches the VM. */
  bridge: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,15}$/)
    .optional(),
  /** Of one call. */
  timeout: DurationMs.refine((ms) => ms >= 1000 && ms <= 3_600_000, "from 1s to 1h").default(
    120_000,
  ),
  /** For a clean power-off, before it is forced. */
  stopGrace: DurationMs.refine((ms) => ms >= 100 && ms <= 600_000, "from 100ms to 10m").default(
    20_000,
  ),
});
export type QemuSettings = z.infer<typeof QemuSettings>;
