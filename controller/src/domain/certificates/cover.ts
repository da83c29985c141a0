/** Whether a certificate with this name is good for the host (RFC 6125, 6.4.3): a wildcard stands for one label. A host
 * that is itself a wildcard needs the same wildcard. */
export function covers(name: string, host: string): boolean {
  if (name === host) return true;
  return name.startsWith("*.") && !host.startsWith("*.") && below(host) === name.slice(2);
}

/** Whether the host is the route's: a route's wildcard stands for one label and more. */
export function isWithin(host: string, pattern: string): boolean {
  if (host === pattern) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1)) && host !== pattern;
}

/** All but the first label. */
function below(host: string): string {
  return host.slice(host.indexOf(".") + 1);
}
