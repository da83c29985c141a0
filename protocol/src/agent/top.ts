/** What runs in a container at a moment. */
import { z } from "zod";

/** More are counted, not listed. */
export const TOP_PROCESSES_MAX = 1000;

/** waiting: in the kernel, for a disk mostly. */
export const topStates = ["running", "sleeping", "waiting", "stopped", "zombie"] as const;
export type TopState = (typeof topStates)[number];

export const TopProcess = z.object({
  /** As the container numbers it. */
  pid: z.int().positive(),
  /** User id in the container. */
  user: z.int().nonnegative(),
  state: z.enum(topStates),
  /** Of one processor, over half a second. */
  cpuPercent: z.number().nonnegative(),
  /** Resident, shared pages included. */
  memoryBytes: z.int().nonnegative(),
  threads: z.int().nonnegative(),
  startedAt: z.iso.datetime(),
  /** Its words with blanks between them, as the process itself has them now; [NAME] where it has none. */
  command: z.string(),
});
export type TopProcess = z.infer<typeof TopProcess>;

export const Top = z.object({
  at: z.iso.datetime(),
  /** Of these, at most 1000 are listed. */
  total: z.int().nonnegative(),
  processes: z.array(TopProcess).max(TOP_PROCESSES_MAX),
});
export type Top = z.infer<typeof Top>;
