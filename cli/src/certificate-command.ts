import type { CommandSpec } from "./command.ts";
import { output } from "./common-options.ts";

/** `strata certificate`: what ingresses show to clients of a tenant's hosts. */
export const certificateCommand: CommandSpec = {
  syntax: "certificate",
  summary: "what ingresses show to the clients of a tenant's hosts",
  children: [
    {
      syntax: "set <name>",
      summary: "give a certificate with its key",
      options: [
        { flags: "--chain <path>", summary: "PEM file: the certificate, then those up to its CA" },
        { flags: "--key <path>", summary: "PEM file of its key, - for standard input" },
      ],
      load: () => import("./commands/certificate-set.ts"),
    },
    {
      syntax: "request <name> <host...>",
      summary: "have a certificate issued for hosts, and renewed in time",
      options: [
        { flags: "--internal", summary: "by the installation's own CA" },
        { flags: "--directory <url>", summary: "by this ACME server [the controller's first]" },
        {
          flags: "--contact <address>",
          summary: "to whom the server writes",
          isRepeatable: true,
        },
        { flags: "--key-id <id>", summary: "of an account that the server knows beforehand" },
        { flags: "--key-secret <name>", summary: "the secret with that account's key" },
      ],
      load: () => import("./commands/certificate-request.ts"),
    },
    {
      syntax: "ls",
      summary: "list certificates with how it stands with them",
      options: [output],
      load: () => import("./commands/certificate-ls.ts"),
    },
    {
      syntax: "ca",
      summary: "print the CA that signs where a tenant has no certificate",
      load: () => import("./commands/certificate-ca.ts"),
    },
    {
      syntax: "delete <name...>",
      summary: "delete certificates",
      load: () => import("./commands/certificate-delete.ts"),
    },
  ],
};
