/** Tenants and what each may use. */
import { z } from "zod";

import { Name } from "../names.ts";
import { Bytes, CpuMillis } from "../units.ts";

const quota = {
  /** Processes of all its subscriptions and jobs. */
  processes: z.int().min(0).max(1_000_000).optional(),
  cpu: CpuMillis.optional(),
  memory: Bytes.optional(),
  /** Of its repositories in the store. */
  storage: Bytes.optional(),
};

/** In thousandths of a processor and bytes; left out, no limit. */
export const TenantQuota = z.strictObject(quota);
export type TenantQuota = z.output<typeof TenantQuota>;

export const TenantInput = z.strictObject({
  description: z.string().max(1024).default(""),
  quota: TenantQuota.default({}),
});
export const Tenant = z.object({
  name: Name,
  description: z.string(),
  /** Processors and bytes. */
  quota: z.object({
    processes: z.int().nullable(),
    cpu: z.number().nullable(),
    memory: z.int().nullable(),
    storage: z.int().nullable(),
  }),
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  /** What its wishes add up to now. */
  status: z.object({
    processes: z.int(),
    cpu: z.number(),
    memory: z.int(),
    /** Null for `default`, whose repositories have no prefix in common. */
    storage: z.int().nullable(),
  }),
});
export type Tenant = z.infer<typeof Tenant>;
