import type { Signature } from "@strata/protocol/signature/read-signatures";
import { and, asc, eq, gt, notExists, sql as raw } from "drizzle-orm";

import type { ImageVariant } from "../domain/image-variant.ts";
import type { Sql } from "./database.ts";
import type { Page } from "./page.ts";
import { cartridges, generations, imageSignatures, signaturePolicies } from "./schema.ts";

export type SignaturePolicyRow = typeof signaturePolicies.$inferSelect;

type Image = { readonly repository: string; readonly digest: string };

export function getSignaturePolicy(sql: Sql, name: string): SignaturePolicyRow | undefined {
  return sql.select().from(signaturePolicies).where(eq(signaturePolicies.name, name)).get();
}

export function listSignaturePolicies(
  sql: Sql,
  { after, limit }: Page,
): readonly SignaturePolicyRow[] {
  return sql
    .select()
    .from(signaturePolicies)
    .where(gt(signaturePolicies.name, after))
    .orderBy(asc(signaturePolicies.name))
    .limit(limit)
    .all();
}

export function listAllSignaturePolicies(sql: Sql): readonly SignaturePolicyRow[] {
  return sql.select().from(signaturePolicies).orderBy(asc(signaturePolicies.name)).all();
}

export function saveSignaturePolicy(sql: Sql, row: SignaturePolicyRow): void {
  sql
    .insert(signaturePolicies)
    .values(row)
    .onConflictDoUpdate({ target: signaturePolicies.name, set: row })
    .run();
}

export function deleteSignaturePolicy(sql: Sql, name: string): void {
  sql.delete(signaturePolicies).where(eq(signaturePolicies.name, name)).run();
}

/** None for an image that was never looked at. */
export function getImageSignatures(sql: Sql, { repository, digest }: Image): readonly Signature[] {
  const isIt = and(eq(imageSignatures.repository, repository), eq(imageSignatures.digest, digest));
  return sql.select().from(imageSignatures).where(isIt).get()?.signatures ?? [];
}

/** What is known of images, where they were looked at. */
export function listImageVariants(
  sql: Sql,
): readonly (Image & { readonly variants: readonly ImageVariant[] | null })[] {
  const { repository, digest, variants } = imageSignatures;
  return sql.select({ repository, digest, variants }).from(imageSignatures).all();
}

/** Forgets those of images that no cartridge names and no generation runs any more. */
export function saveImageSignatures(
  sql: Sql,
  image: Image & {
    readonly signatures: readonly Signature[];
    readonly variants: readonly ImageVariant[];
  },
): void {
  const { repository, digest, signatures, variants } = image;
  const row = { repository, digest, signatures, variants };
  sql
    .insert(imageSignatures)
    .values(row)
    .onConflictDoUpdate({ target: [imageSignatures.repository, imageSignatures.digest], set: row })
    .run();
  const named = sql
    .select({ name: cartridges.name })
    .from(cartridges)
    .where(
      and(
        eq(cartridges.repository, imageSignatures.repository),
        eq(cartridges.digest, imageSignatures.digest),
      ),
    );
  const run = sql
    .select({ id: generations.subscriptionId })
    .from(generations)
    .where(
      and(
        eq(
          raw`json_extract(${generations.spec}, '$.image.repository')`,
          imageSignatures.repository,
        ),
        eq(raw`json_extract(${generations.spec}, '$.image.digest')`, imageSignatures.digest),
      ),
    );
  sql
    .delete(imageSignatures)
    .where(and(notExists(named), notExists(run)))
    .run();
}
