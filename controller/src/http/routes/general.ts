import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { getMeta } from "../../store/meta.ts";
import { reachedUrl } from "../own-address.ts";
import type { Answer, Router } from "../route.ts";
import type { Services } from "../services.ts";

const assets = fileURLToPath(new URL("../../../assets/", import.meta.url));
const asset = (name: string): string => readFileSync(join(assets, name), "utf8");

const text = (description: string, contentType = "text/plain"): Record<number, Answer> => ({
  200: { description, contentType },
});

/** Health, help, the CA and the install script: none of it is a secret. */
export function addGeneralRoutes(router: Router, services: Services): void {
  const help = asset("help.txt").replaceAll("@DATA@", services.config.dataDirectory);
  const installScript = asset("install.sh");
  router.add({
    method: "get",
    path: "/",
    access: "public",
    summary: "One screen of help.",
    answers: text("Help."),
    handle: ({ c }) => c.text(help.replaceAll("@URL@", reachedUrl(c, services))),
  });
  router.add({
    method: "get",
    path: "/healthz",
    access: "public",
    summary: "Whether the program runs.",
    answers: text("It does."),
    handle: ({ c }) => c.text("ok\n"),
  });
  router.add({
    method: "get",
    path: "/readyz",
    access: "public",
    summary: "Whether it can do its work: the database answers and it is not stopping.",
    answers: { ...text("It can."), 503: { description: "Not now." } },
    handle: ({ c }) => {
      if (services.isStopping()) return c.text("stopping\n", 503);
      getMeta(services.store.sql, "restored");
      return c.text("ready\n");
    },
  });
  router.add({
    method: "get",
    path: "/ca.pem",
    access: "public",
    summary: "The certificate of the installation's CA. Check its fingerprint.",
    answers: text("PEM.", "application/x-pem-file"),
    handle: ({ c }) =>
      c.body(services.pki.caPem, 200, { "content-type": "application/x-pem-file" }),
  });
  router.add({
    method: "get",
    path: "/install.sh",
    access: "public",
    summary: "Makes a node of the Debian or Ubuntu machine that runs it. Holds no secret.",
    answers: text("A POSIX shell script.", "text/x-shellscript"),
    handle: ({ c }) =>
      c.body(installScript.replaceAll("@URL@", reachedUrl(c, services)), 200, {
        "content-type": "text/x-shellscript; charset=utf-8",
        "cache-control": "no-store",
      }),
  });
}
