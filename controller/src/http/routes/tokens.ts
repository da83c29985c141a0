import {
  JoinTokenCreated,
  JoinTokenInput,
  JoinTokenResource,
  listOf,
} from "@strata/protocol/api/resources";
import { RotateInput, TokenCreated, TokenInput, TokenResource } from "@strata/protocol/api/tokens";
import { z } from "zod";

import {
  createJoinToken,
  createToken,
  revealJoinToken,
  revokeJoinToken,
  revokeToken,
  rotateToken,
} from "../../operations/tokens.ts";
import { renderCloudConfig } from "../../providers/cloud-init.ts";
import { planJoin } from "../../providers/first-boot.ts";
import {
  type JoinTokenRow,
  listJoinTokens,
  listTokens,
  type TokenRow,
} from "../../store/tokens.ts";
import { answerJson, answerNothing } from "../answer.ts";
import { advertisedUrl, joinCommand } from "../own-address.ts";
import { PageQuery, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

export function addTokenRoutes(router: Router, services: Services): void {
  const { store, random, clock } = services;
  router.add({
    method: "post",
    path: "/v1/tokens",
    access: "admin",
    summary: "Makes an API token. This answer is the only one that shows it.",
    body: TokenInput,
    answers: { 201: { description: "Made.", schema: TokenCreated } },
    handle: ({ body: input, c }) => {
      const { row, token } = store.write((unit) =>
        createToken(unit, { input, secret: random.newSecret() }),
      );
      return answerJson(c, { ...showToken(row, clock.nowMs()), token }, 201);
    },
  });
  router.add({
    method: "get",
    path: "/v1/tokens",
    access: "admin",
    summary: "Lists tokens, without their secrets.",
    query: PageQuery,
    answers: { 200: { description: "One page.", schema: listOf(TokenResource) } },
    handle: ({ query: { after, limit }, c }) => {
      const rows = listTokens(store.sql, { after, limit: limit + 1 });
      const show = (row: TokenRow): TokenResource => showToken(row, clock.nowMs());
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => id, show }));
    },
  });
  router.add({
    method: "post",
    path: "/v1/tokens/{id}/rotate",
    access: "admin",
    summary: "Gives a token a new secret; the old one is good for the overlap.",
    params: Params,
    body: RotateInput,
    answers: { 200: { description: "The token, shown this once.", schema: TokenCreated } },
    handle: ({ params: { id }, body: input, c }) => {
      const { row, token } = store.write((unit) =>
        rotateToken(unit, { id, input, secret: random.newSecret() }),
      );
      return answerJson(c, { ...showToken(row, clock.nowMs()), token });
    },
  });
  router.add({
    method: "delete",
    path: "/v1/tokens/{id}",
    access: "admin",
    summary: "Revokes a token at once.",
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { id }, c }) => {
      store.write((unit) => revokeToken(unit, id));
      return answerNothing(c);
    },
  });
  addJoinTokenRoutes(router, services);
  addCloudInitRoute(router, services);
}

function addJoinTokenRoutes(router: Router, services: Services): void {
  const { store, pki } = services;
  router.add({
    method: "post",
    path: "/v1/join-tokens",
    access: "operator",
    summary: "Makes a token with which machines become nodes.",
    body: JoinTokenInput,
    answers: { 201: { description: "Made.", schema: JoinTokenCreated } },
    handle: ({ body: input, c }) => {
      const { row, token } = store.write((unit) =>
        createJoinToken(unit, {
          input,
          authority: pki,
        }),
      );
      const command = joinCommand(services, token);
      return answerJson(c, { ...showJoinToken(row), token, command }, 201);
    },
  });
  router.add({
    method: "get",
    path: "/v1/join-tokens",
    access: "operator",
    summary: "Lists join tokens, without their secrets.",
    query: PageQuery,
    answers: { 200: { description: "One page.", schema: listOf(JoinTokenResource) } },
    handle: ({ query: { after, limit }, c }) => {
      const rows = listJoinTokens(store.sql, { after, limit: limit + 1 });
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => id, show: showJoinToken }));
    },
  });
  router.add({
    method: "delete",
    path: "/v1/join-tokens/{id}",
    access: "operator",
    summary: "Revokes a join token. Nodes that joined with it stay.",
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { id }, c }) => {
      store.write((unit) => revokeJoinToken(unit, id));
      return answerNothing(c);
    },
  });
}

function addCloudInitRoute(router: Router, services: Services): void {
  const { store, clock, pki } = services;
  router.add({
    method: "get",
    path: "/v1/join-tokens/{id}/cloud-init",
    access: "operator",
    summary:
      "User data with which a new machine of any IaaS joins at its first boot. Holds the token.",
    params: Params,
    answers: {
      200: { description: "A #cloud-config document.", contentType: "text/cloud-config" },
    },
    handle: ({ params: { id }, c }) => {
      const joinToken = revealJoinToken({ sql: store.sql, nowMs: clock.nowMs() }, id, pki);
      const { caPem } = pki;
      const firstBoot = planJoin({ controllerUrl: advertisedUrl(services), caPem, joinToken });
      return c.body(renderCloudConfig(firstBoot), 200, {
        "content-type": "text/cloud-config; charset=utf-8",
        "cache-control": "no-store",
      });
    },
  });
}

function showToken(row: TokenRow, nowMs: number): TokenResource {
  const { id, name, scope, tenant, ratePerMinute, createdAt, expiresAt, lastUsedAt } = row;
  const { previousExpiresAt } = row;
  const overlaps = previousExpiresAt !== null && nowMs < Date.parse(previousExpiresAt);
  return {
    id,
    name,
    scope,
    tenant,
    ratePerMinute,
    createdAt,
    expiresAt,
    lastUsedAt,
    previousExpiresAt: overlaps ? previousExpiresAt : null,
  };
}

function showJoinToken(row: JoinTokenRow): z.infer<typeof JoinTokenResource> {
  const { id, partition, usesLeft, expiresAt, createdAt } = row;
  return { id, partition, usesLeft, expiresAt, createdAt };
}
