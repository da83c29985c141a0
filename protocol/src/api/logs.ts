import { z } from "zod";

export const LogSearchAnswer = z.object({
  /** By time; lines of one process in the order in which it wrote them. */
  items: z.array(
    z.object({
      /** When it was written, to a second or two, by the clock of its node. */
      at: z.iso.datetime(),
      process: z.string(),
      node: z.string(),
      text: z.string(),
    }),
  ),
  /** There are older lines that match. */
  truncated: z.boolean(),
  /** Processes whose logs are not, or not whole, in the answer. */
  missing: z.array(
    z.object({
      process: z.string(),
      node: z.string().nullable(),
      code: z.string(),
      message: z.string(),
    }),
  ),
});
export type LogSearchAnswer = z.infer<typeof LogSearchAnswer>;
