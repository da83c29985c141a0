import { z } from "zod";

/** Limit of RFC 1123, section 2.1, for one label of a host name. */
export const LABEL_LENGTH_MAX = 63;
/** An alias leaves room for the `-xxxxxxxx` that makes it a process id and so a host name. */
const ALIAS_LENGTH_MAX = 54;

const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const labelHint =
  "lower-case letters, digits and hyphens, beginning and ending with a letter or digit";

/** The name of a resource: one label of RFC 1123. */
export const Name = z.string().max(LABEL_LENGTH_MAX).regex(label, `a name has ${labelHint}`);

/** The alias of a subscription. */
export const Alias = z.string().max(ALIAS_LENGTH_MAX).regex(label, `an alias has ${labelHint}`);

/** Free key/value labels, for selection only. At most 64 of them. */
export const Labels = z
  .record(
    z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$/),
    z.string().max(256),
  )
  .refine((labels) => Object.keys(labels).length <= 64, "at most 64 labels");
