/** Certificates of a tenant, for its hosts. No answer of these holds a key. */
import { Certificate, CertificateInput } from "@strata/protocol/api/certificates";
import { listOf } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import { putCertificate, removeCertificate } from "../../operations/certificates.ts";
import { requireFound } from "../../operations/upsert.ts";
import { getCertificate, listCertificatesOfTenant } from "../../store/certificates.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";
import { showCertificate } from "../show-certificate.ts";

const Params = z.object({ name: Name });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The certificate, without its key.", schema: Certificate };

export function addCertificateRoutes(router: Router, services: Services): void {
  const { store, clock } = services;
  router.add({
    method: "get",
    path: "/v1/certificates/ca.pem",
    access: "public",
    summary: "The CA of the certificates that ingresses show where a tenant has none.",
    answers: { 200: { description: "PEM.", contentType: "application/x-pem-file" } },
    handle: ({ c }) =>
      c.body(services.pki.ingress.certificatePem, 200, {
        "content-type": "application/x-pem-file",
      }),
  });
  router.add({
    method: "get",
    path: "/v1/certificates/{name}",
    access: "viewer",
    summary: "Shows a certificate and how it stands with it, never its key.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) => {
      const row = getCertificate(store.sql, { tenant: tenantOf(caller, query.tenant), name });
      const found = requireFound(row, { kind: "certificate", name });
      return answerResource(c, showCertificate(found, clock.nowMs()));
    },
  });
  router.add({
    method: "get",
    path: "/v1/certificates",
    access: "viewer",
    summary: "Lists the tenant's certificates by name.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Certificate) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const page = { after, limit: limit + 1 };
      const rows = listCertificatesOfTenant(store.sql, tenantOf(caller, tenant), page);
      const nowMs = clock.nowMs();
      const show = (row: (typeof rows)[number]): Certificate => showCertificate(row, nowMs);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ name }) => name, show }));
    },
  });
  addWriters(router, services);
}

function addWriters(router: Router, services: Services): void {
  const { store, clock, secretBox: box, config } = services;
  const context = { box, directories: config.acmeDirectories };
  router.add({
    method: "put",
    path: "/v1/certificates/{name}",
    access: "deployer",
    summary: "Gives a certificate with its key, or asks our CA or an ACME server for one.",
    params: Params,
    query: TenantQuery,
    body: CertificateInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: ({ params: { name }, query, body: input, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { row, action } = store.write((unit) =>
        putCertificate(unit, context, { tenant, name, input, precondition }),
      );
      return answerResource(c, showCertificate(row, clock.nowMs()), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/certificates/{name}",
    access: "deployer",
    summary: "Deletes a certificate; its hosts are shown another one.",
    params: Params,
    query: TenantQuery,
    answers: { 204: { description: "Gone." } },
    handle: ({ params: { name }, query, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      store.write((unit) => removeCertificate(unit, { tenant, name, precondition }));
      return answerNothing(c);
    },
  });
}
