/** What of tenants may reach HAProxy's configuration, its maps and its commands. The controller has checked all of it;
 * here it is checked again, because a line break in the wrong place would be a line of the configuration. Pure. */

const LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?";
const HOST = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`);
const HOST_LENGTH_MAX = 253;

export function isFitHost(host: string): boolean {
  return host.length <= HOST_LENGTH_MAX && HOST.test(host);
}

/** The characters of RFC 3986, section 3.3. */
export function isFitPath(path: string): boolean {
  return path.length <= 1024 && /^\/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$/.test(path);
}

export function isFitId(id: string): boolean {
  return /^[A-Za-z0-9._-]{1,200}$/.test(id);
}

/** Both are of the alphabet of base64url, the answer with a dot in between (RFC 8555, 8.1). */
export function isFitChallenge({
  token,
  answer,
}: {
  readonly token: string;
  readonly answer: string;
}): boolean {
  return /^[A-Za-z0-9_-]{1,255}$/.test(token) && /^[A-Za-z0-9._-]{1,512}$/.test(answer);
}
