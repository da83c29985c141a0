/** Tables of how the world reaches subscriptions. */
import type { RouteInput } from "@strata/protocol/api/routes";
import { primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { z } from "zod";

import { stored } from "./columns.ts";

/** Kept in the form in which people write them: what a later version adds takes its default when read. */
export const routes = sqliteTable(
  "routes",
  {
    tenant: text().notNull(),
    name: text().notNull(),
    spec: text({ mode: "json" }).$type<z.input<typeof RouteInput>>().notNull(),
    ...stored,
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);
