/** How nodes find each other's blobs. See protocol/agent/peers.ts. Any node may pull any repository, so any may have a
 * blob of it from another node of its partition. */
import {
  PeerAnnouncement,
  PeerAnswer,
  PeerCertificate,
  PeerCertificateRequest,
  PeerSearch,
} from "@strata/protocol/agent/peers";
import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import { findPeer } from "../../operations/peers.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getNode } from "../../store/nodes.ts";
import { answerJson } from "../answer.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

export function addPeerRoutes(router: Router, services: Services): void {
  const { store, clock, peers, presence, pki, config } = services;
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/peers/announce",
    access: "node",
    summary: "What the node has of images, for others of its partition.",
    params: Params,
    body: PeerAnnouncement,
    answers: { 204: { description: "Noted, until the controller ends." } },
    handle: ({ params: { id: nodeId }, body, c }) => {
      const node = requireFound(getNode(store.sql, nodeId), { kind: "node", name: nodeId });
      peers.announce({ nodeId, partition: node.partition }, body);
      return c.body(null, 204);
    },
  });
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/peers/find",
    access: "node",
    summary: "Where the node takes a blob from: another node, or the store.",
    params: Params,
    body: PeerSearch,
    answers: { 200: { description: "Where.", schema: PeerAnswer } },
    handle: ({ params: { id: nodeId }, body, c }) => {
      const node = requireFound(getNode(store.sql, nodeId), { kind: "node", name: nodeId });
      const finder = {
        sql: store.sql,
        peers,
        presence,
        reportsPerSecond: config.reportsPerSecond,
        nowMs: clock.nowMs(),
        monotonicMs: clock.monotonicMs(),
      };
      return answerJson(c, findPeer(finder, node, body));
    },
  });
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/peers/certificate",
    access: "node",
    summary: "A certificate with which the node serves others.",
    params: Params,
    body: PeerCertificateRequest,
    answers: { 200: { description: "The certificate.", schema: PeerCertificate } },
    handle: async ({ params: { id: nodeId }, body: { publicKeyPem }, c }) => {
      const nowMs = clock.nowMs();
      const issued = await pki.issueNodeCertificate({ nodeId, publicKeyPem, nowMs });
      if (issued === undefined) {
        throw new ControllerError("INVALID", "publicKeyPem: not the public key of a P-256 pair", {
          hint: "send SubjectPublicKeyInfo as PEM",
        });
      }
      const { certificatePem, notAfterMs } = issued;
      const notAfter = new Date(notAfterMs).toISOString();
      return answerJson(c, { certificatePem, caPem: pki.caPem, notAfter });
    },
  });
}
