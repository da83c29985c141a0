/** Reads the stream of documents that `POST /v1/apply` takes. */
import { applyKinds } from "@strata/protocol/api/resources";
import { Alias, Name } from "@strata/protocol/names";
import { parseAllDocuments } from "yaml";
import { z } from "zod";

import { ControllerError } from "../errors.ts";
import { inspectSignedImage, type SignedImageSource } from "../images/signed-image.ts";
import { type ApplyDocument, inputOfKind } from "../operations/apply.ts";
import { parseJsonBody } from "./body.ts";
import { FieldsError } from "./problem.ts";

const DOCUMENTS_MAX = 1000;
const ALIASES_MAX = 100;

/** YAML documents, one JSON value or array, or one JSON value in each line.
 * @throws ControllerError JSON_INVALID */
export function parseDocuments(bytes: Uint8Array): readonly unknown[] {
  const documents = (parseJsonLines(bytes) ?? parseYaml(bytes)).flat();
  if (documents.length > DOCUMENTS_MAX) {
    throw new ControllerError("JSON_INVALID", `${documents.length} documents in one request`, {
      hint: `send at most ${DOCUMENTS_MAX} at once`,
    });
  }
  return documents;
}

const Head = z.looseObject({ kind: z.enum(applyKinds), name: Name });

/** Checks one document and, for a cartridge, looks its image up in the store.
 * @throws ControllerError INVALID, IMAGE_NOT_FOUND, IMAGE_NOT_RUNNABLE */
export async function readDocument(
  value: unknown,
  { index, images }: { readonly index: number; readonly images: SignedImageSource },
): Promise<ApplyDocument> {
  const { kind, name, ...fields } = check(Head, value, `document ${index + 1}`);
  const what = `${kind} ${name}`;
  switch (kind) {
    case "Provider":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    case "PartitionPolicy":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    case "ScalingPolicy":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    case "Partition":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    case "Cartridge": {
      const input = check(inputOfKind[kind], fields, what);
      return { kind, name, input, image: await inspectSignedImage(images, input.image) };
    }
    case "Subscription":
      return {
        kind,
        name: check(Alias, name, what),
        input: check(inputOfKind[kind], fields, what),
      };
    case "Job":
      return {
        kind,
        name: check(Alias, name, what),
        input: check(inputOfKind[kind], fields, what),
      };
    case "Route":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    case "Certificate":
      return { kind, name, input: check(inputOfKind[kind], fields, what) };
    default:
      return kind satisfies never;
  }
}

function check<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  what: string,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new FieldsError(what, result.error);
}

/** Undefined when it is not one JSON value, or one in each line. */
function parseJsonLines(bytes: Uint8Array): unknown[] | undefined {
  const text = new TextDecoder().decode(bytes).trim();
  if (!/^[{[]/.test(text)) return undefined;
  if (isJson(text)) return [parseJsonBody(bytes)];
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (!lines.every(isJson)) return undefined;
  return lines.map((line) => parseJsonBody(Buffer.from(line)));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parseYaml(bytes: Uint8Array): unknown[] {
  const documents = parseAllDocuments(new TextDecoder().decode(bytes), {
    uniqueKeys: true,
    version: "1.2",
  });
  const values: unknown[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) throw invalid(error);
    try {
      const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
      // What stands between two `---` with nothing in it.
      if (value !== null) values.push(value);
    } catch (error) {
      throw invalid(error);
    }
  }
  return values;
}

function invalid(cause: unknown): ControllerError {
  const reason = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : "unknown";
  return new ControllerError("JSON_INVALID", `the body is neither YAML nor JSON: ${reason}`, {
    cause,
    hint: "send documents of kind, name and the fields of that kind, parted by ---",
  });
}
