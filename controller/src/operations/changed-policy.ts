/** A stored scaling policy with changes that are only tried. */
import { type ScalingPolicy, ScalingPolicyInput } from "@strata/protocol/api/autoscale";

import { ControllerError } from "../errors.ts";
import type { ScalingPolicyRow } from "../store/scaling-policies.ts";

type Changes = {
  /** In place of the stored one. */
  readonly policy?: Readonly<Record<string, unknown>> | undefined;
  /** By path, as `metrics.0.target`. */
  readonly set: Readonly<Record<string, unknown>>;
};

/** @throws ControllerError INVALID, naming the field */
export function changedPolicy(
  { policy: stored }: Pick<ScalingPolicyRow, "policy">,
  { policy = stored, set }: Changes,
): ScalingPolicy {
  const changed: unknown = structuredClone(policy);
  for (const [path, value] of Object.entries(set)) setField(changed, path, value);
  const result = ScalingPolicyInput.safeParse(changed);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new ControllerError(
    "INVALID",
    `the policy to try: ${issue?.path.map(String).join(".")}: ${issue?.message}`,
    { hint: "GET /openapi.json describes every field of a scaling policy" },
  );
}

/** Only what an object has itself is walked through: a path is text of a stranger. */
function setField(root: unknown, path: string, value: unknown): void {
  const names = path.split(".");
  let place = root;
  for (const [index, name] of names.entries()) {
    if (typeof place !== "object" || place === null) throw unknownPath(path);
    if (index === names.length - 1) {
      Object.defineProperty(place, name, {
        value,
        writable: true,
        enumerable: true,
        configurable: true,
      });
      return;
    }
    if (!Object.hasOwn(place, name)) {
      if (Array.isArray(place)) throw unknownPath(path);
      Object.defineProperty(place, name, {
        value: {},
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    place = Object.getOwnPropertyDescriptor(place, name)?.value;
  }
}

function unknownPath(path: string): ControllerError {
  return new ControllerError("INVALID", `the policy has no place ${path}`, {
    hint: "write a path such as max, panic.threshold or metrics.0.target",
  });
}
