/** The names of @peculiar/x509 that we use. Its dependency injection throws unless `reflect-metadata` is loaded first,
 * so it is imported here and nowhere else. */
import "reflect-metadata";

export {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
