import type { Principal } from "../access/authenticate.ts";
import { reachesRepository } from "../access/repository-owner.ts";
import type { SignedImageSource } from "../images/signed-image.ts";
import type { Services } from "./services.ts";

/** The store as this caller may pull from it: what belongs to other tenants is not there. */
export function imagesFor(
  { images, store }: Services,
  caller: Pick<Principal, "scope" | "tenant">,
): SignedImageSource {
  return {
    ...images,
    resolve: async (repository, reference) =>
      reachesRepository(store.sql, caller, { repository, action: "pull" })
        ? images.resolve(repository, reference)
        : undefined,
  };
}
