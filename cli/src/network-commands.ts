/** `strata route`: how requests from outside come to processes. */
import type { CommandSpec } from "./command.ts";
import { output } from "./common-options.ts";

export const routeCommand: CommandSpec = {
  syntax: "route",
  summary: "how requests from outside come to processes",
  children: [
    {
      syntax: "set <name>",
      summary: "create or change a route; what is left out takes its default",
      options: [
        {
          flags: "--to <subscription>",
          summary: "where requests go: ALIAS, ALIAS:PORT, ALIAS=WEIGHT or ALIAS:PORT=WEIGHT",
          isRepeatable: true,
        },
        {
          flags: "--host <host>",
          summary: "like shop.example.com or *.example.com",
          isRepeatable: true,
        },
        { flags: "--path <prefix>", summary: "like /shop [/]" },
        { flags: "--tcp-port <port>", summary: "TCP in place of HTTP: the port of every ingress" },
        { flags: "--sticky", summary: "clients come back to the same process, by a cookie" },
        { flags: "--redirect-to-https", summary: "send what comes in the clear to HTTPS" },
      ],
      load: () => import("./commands/route-set.ts"),
    },
    {
      syntax: "ls",
      summary: "list routes, without those that subscriptions have by themselves",
      options: [output],
      load: () => import("./commands/route-ls.ts"),
    },
    {
      syntax: "delete <name...>",
      summary: "delete routes",
      load: () => import("./commands/route-delete.ts"),
    },
  ],
};
