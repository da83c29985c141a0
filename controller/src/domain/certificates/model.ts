/** What is wished of a certificate. A given one is known by the digest of its chain. */
export type CertificateSpec =
  | { readonly source: "given"; readonly chainDigest: string }
  | { readonly source: "internal"; readonly hosts: readonly string[] }
  | {
      readonly source: "acme";
      readonly hosts: readonly string[];
      readonly directory: string;
      readonly contact: readonly string[];
      readonly externalAccount?: { readonly keyId: string; readonly secret: string };
    };

/** What a certificate says of itself. Times are RFC 3339. */
export type CertificateFacts = {
  /** DNS names of the subject's alternative names, in lower case. */
  readonly names: readonly string[];
  readonly issuer: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** SHA-256 of its DER, hexadecimal. */
  readonly fingerprint: string;
};

/** A host of a tenant for which an ingress shall show a certificate. */
export type HostWish = {
  readonly tenant: string;
  /** Lower case; `*.example.com` for all below. */
  readonly host: string;
  /** The certificate that the route names. */
  readonly certificate?: string;
};
