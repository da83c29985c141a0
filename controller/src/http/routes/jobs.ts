import { Job, JobInput, JobRun, JobRunInput } from "@strata/protocol/api/jobs";
import { listOf } from "@strata/protocol/api/resources";
import { Alias } from "@strata/protocol/names";
import { z } from "zod";

import { cancelRun, startRun } from "../../operations/job-runs.ts";
import { type JobKey, putJob, removeJob, requireJob } from "../../operations/jobs.ts";
import { withinQuota } from "../../operations/quotas.ts";
import { requireFound } from "../../operations/upsert.ts";
import type { Sql } from "../../store/database.ts";
import {
  getRun,
  type JobRunRow,
  listJobsOfTenant,
  listRuns,
  type StoredJob,
} from "../../store/jobs.ts";
import { answerJson, answerResource } from "../answer.ts";
import { readJob, readRun } from "../job-views.ts";
import { PageQuery, TenantQuery, tenantOf, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ name: Alias });
const RunParams = z.object({ name: Alias, id: z.string().max(100) });
const ListQuery = z.strictObject({ ...PageQuery.shape, ...TenantQuery.shape });
const one = { description: "The job.", schema: Job };
const oneRun = { description: "The run.", schema: JobRun };

export function addJobRoutes(router: Router, services: Services): void {
  addReaders(router, services);
  addWriters(router, services);
  addRunReaders(router, services);
  addRunVerbs(router, services);
}

function addReaders(router: Router, services: Services): void {
  const { sql } = services.store;
  router.add({
    method: "get",
    path: "/v1/jobs/{name}",
    access: "viewer",
    summary: "Shows a job, its next time and its last run.",
    params: Params,
    query: TenantQuery,
    answers: { 200: one },
    handle: ({ params: { name }, query, caller, c }) => {
      const found = requireJob({ sql }, { tenant: tenantOf(caller, query.tenant), name });
      return answerResource(c, readJob(services, found));
    },
  });
  router.add({
    method: "get",
    path: "/v1/jobs",
    access: "viewer",
    summary: "Lists the tenant's jobs by name.",
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(Job) } },
    handle: ({ query: { after, limit, tenant }, caller, c }) => {
      const page = { after, limit: limit + 1 };
      const rows = listJobsOfTenant(sql, tenantOf(caller, tenant), page);
      const show = (stored: StoredJob): Job => readJob(services, stored);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ job }) => job.name, show }));
    },
  });
}

function addWriters(router: Router, services: Services): void {
  const { store } = services;
  router.add({
    method: "put",
    path: "/v1/jobs/{name}",
    access: "deployer",
    summary: "Creates or changes a job.",
    params: Params,
    query: TenantQuery,
    body: JobInput,
    answers: { 200: one, 201: { ...one, description: "Created." } },
    handle: ({ params: { name }, query, body: input, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const { row, action } = store.write((unit) =>
        withinQuota(unit, tenant, () =>
          putJob(unit, { tenant, name, input, scope: caller.scope, precondition }),
        ),
      );
      services.reconcileSoon();
      return answerResource(c, readJob(services, row), action);
    },
  });
  router.add({
    method: "delete",
    path: "/v1/jobs/{name}",
    access: "deployer",
    summary: "Cancels what a job runs, then forgets it with its runs.",
    params: Params,
    query: TenantQuery,
    answers: { 202: { ...one, description: "It goes with the last of its processes." } },
    handle: ({ params: { name }, query, caller, precondition, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const stored = store.write((unit) => removeJob(unit, { tenant, name, precondition }));
      services.reconcileSoon();
      return answerJson(c, readJob(services, stored), 202);
    },
  });
}

function addRunReaders(router: Router, services: Services): void {
  const { sql } = services.store;
  router.add({
    method: "get",
    path: "/v1/jobs/{name}/runs",
    access: "viewer",
    summary: "Lists the runs of a job that are remembered, the newest first.",
    params: Params,
    query: ListQuery,
    answers: { 200: { description: "One page.", schema: listOf(JobRun) } },
    handle: ({ params: { name }, query: { after, limit, tenant }, caller, c }) => {
      const { job } = requireJob({ sql }, { tenant: tenantOf(caller, tenant), name });
      const before = after === "" ? undefined : getRun(sql, after);
      const rows = listRuns(sql, job.id, { before, limit: limit + 1 });
      const show = (run: JobRunRow): JobRun => readRun(services, name, run);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ id }) => id, show }));
    },
  });
  router.add({
    method: "get",
    path: "/v1/jobs/{name}/runs/{id}",
    access: "viewer",
    summary: "Shows a run and its tries.",
    params: RunParams,
    query: TenantQuery,
    answers: { 200: oneRun },
    handle: ({ params: { name, id }, query, caller, c }) => {
      const key = { tenant: tenantOf(caller, query.tenant), name };
      return answerJson(c, readRun(services, name, requireRun(sql, key, id).run));
    },
  });
}

function addRunVerbs(router: Router, services: Services): void {
  const { store } = services;
  router.add({
    method: "post",
    path: "/v1/jobs/{name}/run",
    access: "deployer",
    summary: "Runs a job now, whatever its calendar says.",
    params: Params,
    query: TenantQuery,
    body: JobRunInput,
    answers: { 201: { ...oneRun, description: "It begins." } },
    handle: ({ params: { name }, query, body: { args }, caller, c }) => {
      const tenant = tenantOf(caller, query.tenant);
      const run = store.write((unit) =>
        withinQuota(unit, tenant, () =>
          startRun(unit, requireJob(unit, { tenant, name }), {
            scheduledAt: null,
            ...(args === undefined ? {} : { args }),
          }),
        ),
      );
      services.reconcileSoon();
      return answerJson(c, readRun(services, name, run), 201);
    },
  });
  router.add({
    method: "post",
    path: "/v1/jobs/{name}/runs/{id}/cancel",
    access: "deployer",
    summary: "Ends a run before its time. One that has ended stays as it is.",
    params: RunParams,
    query: TenantQuery,
    answers: { 200: oneRun },
    handle: ({ params: { name, id }, query, caller, c }) => {
      const key = { tenant: tenantOf(caller, query.tenant), name };
      const run = store.write((unit) => {
        const found = requireRun(unit.sql, key, id);
        cancelRun(unit, { ...found, reason: "somebody cancelled it" });
        return getRun(unit.sql, id) ?? found.run;
      });
      services.reconcileSoon();
      return answerJson(c, readRun(services, name, run));
    },
  });
}

/** @throws ControllerError NOT_FOUND */
function requireRun(
  sql: Sql,
  key: JobKey,
  id: string,
): { readonly stored: StoredJob; readonly run: JobRunRow } {
  const stored = requireJob({ sql }, key);
  const run = getRun(sql, id);
  const own = run?.jobId === stored.job.id ? run : undefined;
  return { stored, run: requireFound(own, { kind: "run", name: id }) };
}
