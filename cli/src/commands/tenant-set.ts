import type { Tenant } from "@strata/protocol/api/tenants";

import { sendResource } from "../api/resource.ts";
import { openSession, pathSegment } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { getCount, getText } from "../options.ts";

export async function run(invocation: Invocation): Promise<void> {
  const { context, args, options } = invocation;
  const [name = ""] = args;
  const client = await openSession(invocation);
  const { revision } = await sendResource<Tenant>(client, {
    method: "PUT",
    path: `/v1/tenants/${pathSegment(name)}`,
    body: {
      description: getText(options, "description"),
      quota: {
        processes: getCount(options, "processes"),
        cpu: getText(options, "cpu"),
        memory: getText(options, "memory"),
        storage: getText(options, "storage"),
      },
    },
  });
  print(context, `Tenant/${name} is at revision ${revision}`);
}
