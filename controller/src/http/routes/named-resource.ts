/** PUT, GET, list and DELETE of a resource that all tenants share and that its name alone tells apart. */
import type { Scope } from "@strata/protocol/access";
import { listOf } from "@strata/protocol/api/resources";
import { Name } from "@strata/protocol/names";
import { z } from "zod";

import type { Principal } from "../../access/authenticate.ts";
import type { Delete, Put } from "../../operations/partitions.ts";
import { type Outcome, requireFound } from "../../operations/upsert.ts";
import type { Sql } from "../../store/database.ts";
import type { Page } from "../../store/page.ts";
import type { Unit } from "../../store/unit.ts";
import { answerJson, answerNothing, answerResource } from "../answer.ts";
import { PageQuery, toPage } from "../read.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

type Row = { readonly name: string; readonly revision: number };

export type NamedResource<
  R extends Row,
  Input extends z.ZodType,
  Shown extends { revision: number },
> = {
  readonly path: string;
  readonly kind: string;
  readonly writer: Scope;
  /** Who may read it [viewer]. */
  readonly reader?: Scope;
  readonly input: Input;
  readonly resource: z.ZodType<Shown>;
  readonly put: (unit: Unit, put: Put<z.output<Input>>) => Outcome<R>;
  readonly get: (sql: Sql, name: string) => R | undefined;
  readonly list: (sql: Sql, page: Page) => readonly R[];
  readonly remove: (unit: Unit, deletion: Delete) => void;
  readonly show: (row: R) => Shown;
};

const Params = z.object({ name: Name });

export function addNamedResource<
  R extends Row,
  Input extends z.ZodType,
  Shown extends { revision: number },
>(router: Router, services: Services, resource: NamedResource<R, Input, Shown>): void {
  const { path, kind } = resource;
  router.add({
    method: "put",
    path: `${path}/{name}`,
    access: resource.writer,
    summary: `Creates or changes a ${kind}.`,
    params: Params,
    body: resource.input,
    answers: {
      200: { description: "Changed, or as it was.", schema: resource.resource },
      201: { description: "Created.", schema: resource.resource },
    },
    handle: ({ params, body, precondition, c }) => {
      const { row, action } = services.store.write((unit) =>
        resource.put(unit, { name: params.name, input: body, precondition }),
      );
      services.reconcileSoon();
      return answerResource(c, resource.show(row), action);
    },
  });
  addReaders(router, services, resource);
  router.add({
    method: "delete",
    path: `${path}/{name}`,
    access: resource.writer,
    summary: `Deletes a ${kind} that nothing uses.`,
    params: Params,
    answers: { 204: { description: "Gone." } },
    handle: ({ params, precondition, c }) => {
      services.store.write((unit) => resource.remove(unit, { name: params.name, precondition }));
      return answerNothing(c);
    },
  });
}

/** GET of one and of the list. */
export function addReaders<R extends Row, Shown extends { revision: number }>(
  router: Router,
  services: Services,
  resource: Pick<
    NamedResource<R, z.ZodType, Shown>,
    "path" | "kind" | "resource" | "get" | "show"
  > & {
    readonly list: (sql: Sql, page: Page, caller: Principal) => readonly R[];
    /** Left out, everybody sees all of them. What is not seen is not there. */
    readonly isSeen?: (row: R, caller: Principal) => boolean;
    /** Who may read [viewer]. */
    readonly reader?: Scope;
  },
): void {
  const { path, kind, reader = "viewer", isSeen = () => true } = resource;
  router.add({
    method: "get",
    path: `${path}/{name}`,
    access: reader,
    summary: `Shows a ${kind}.`,
    params: Params,
    answers: { 200: { description: "The present state.", schema: resource.resource } },
    handle: ({ params: { name }, caller, c }) => {
      const known = resource.get(services.store.sql, name);
      const seen = known !== undefined && isSeen(known, caller) ? known : undefined;
      const row = requireFound(seen, { kind, name });
      return answerResource(c, resource.show(row));
    },
  });
  router.add({
    method: "get",
    path,
    access: reader,
    summary: `Lists by name.`,
    query: PageQuery,
    answers: { 200: { description: "One page.", schema: listOf(resource.resource) } },
    handle: ({ query: { after, limit }, caller, c }) => {
      const rows = resource.list(services.store.sql, { after, limit: limit + 1 }, caller);
      return answerJson(c, toPage(rows, { limit, keyOf: ({ name }) => name, show: resource.show }));
    },
  });
}
