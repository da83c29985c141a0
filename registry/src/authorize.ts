/** What a request wants to do. `delete` removes tags, manifests and blobs; an upload is cancelled with `push`. `list` reads
 * the catalog, and is asked once more for each repository in it: it is left out when the answer is no. */
export type RegistryAction = "pull" | "push" | "delete" | "list";

export type AuthorizeRequest = {
  /** The `Authorization` header as it came. */
  readonly authorization: string | undefined;
  readonly action: RegistryAction;
  /** Undefined for `/v2/` and the catalog, which belong to no repository. */
  readonly repository: string | undefined;
  /** Address of the peer, for logs and for rules about loopback. */
  readonly remote: string | undefined;
  /** `https://address:port` of ours that the client reached, by the kernel's word and not by a header. */
  readonly origin: string | undefined;
};

export type AuthorizeResult =
  /** `subject` names the caller; uploads belong to it. */
  | { readonly kind: "allowed"; readonly subject: string }
  /** Who is it? Answered by 401 with this `WWW-Authenticate`. */
  | { readonly kind: "challenge"; readonly wwwAuthenticate: string }
  /** Known, but not allowed: 403. */
  | { readonly kind: "denied" };

/** Given by the embedder; asked for every request, and for each source repository of a mount. */
export type Authorize = (request: AuthorizeRequest) => AuthorizeResult | Promise<AuthorizeResult>;
