/** Pushes a layout to the store of the controller that the command talks to. */
import type { Digest } from "@strata/protocol/oci/digest";
import { parseReference } from "@strata/protocol/oci/reference";

import { type LayoutImage, readLayout } from "../cartridge/layout.ts";
import type { Context } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getText, type Options } from "../options.ts";
import { createProgress, createSilence } from "../output/progress.ts";
import { findConnection } from "../settings/connection.ts";
import { openStore } from "./client.ts";
import { pushImage } from "./push.ts";
import { registerCartridge } from "./register.ts";

export type Pushed = {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
};

/** Reads `--tag`, `--quiet`, `--register` and `--context`.
 * @throws CliError LAYOUT_INVALID, REFUSED, UNREACHABLE */
export async function pushLayout(
  layout: string,
  { context, options }: { readonly context: Context; readonly options: Options },
): Promise<Pushed> {
  const images = await readLayout(layout);
  const [image] = images;
  if (image === undefined || images.length > 1) {
    throw new CliError("LAYOUT_INVALID", `${layout} holds ${images.length} images instead of one`);
  }
  const { repository, tag } = requireName(image, getText(options, "tag"));
  const connection = await findConnection(context, getText(options, "context"));
  {
    await using store = openStore(connection, context.signal);
    using progress = getFlag(options, "quiet") ? createSilence() : createProgress(context);
    const { signal } = context;
    await pushImage(
      store,
      { layout, image: image.descriptor },
      { repository, tag, signal, progress },
    );
  }
  const pushed = { repository, tag, digest: image.descriptor.digest };
  if (getFlag(options, "register")) {
    const registration = { ...pushed, layout, image: image.descriptor };
    await registerCartridge(registration, connection, context.signal);
  }
  return pushed;
}

function requireName(
  image: LayoutImage,
  name: string | undefined,
): { readonly repository: string; readonly tag: string } {
  const { repository, tag = "latest" } = image;
  if (name === undefined && repository !== undefined) return { repository, tag };
  if (name === undefined) {
    throw new CliError("USAGE", "the layout does not say what its image is called", {
      hint: "name it: -t repository:tag",
    });
  }
  const reference = parseReference(name);
  if ("tag" in reference) return reference;
  throw new CliError("USAGE", `${name} is a digest; a push wants repository:tag`);
}
