/** A program that removes one image of a store: FOLDER DIGEST. Writes a byte when it begins, and one when it is done. */
import { parseDigest } from "@strata/protocol/oci/digest";

import { anImageStore } from "./an-image-store.ts";

const [directory = "", digest = ""] = process.argv.slice(2);
await using images = anImageStore("http://127.0.0.1:1", { directory });
process.stdout.write(".");
await images.store.remove(parseDigest(digest));
process.stdout.write(".");
// Until it is killed.
await new Promise((resolve) => setTimeout(resolve, 60_000));
