/** The entity tag of immutable content is its digest: RFC 9110, section 8.8.3. */
export function entityTag(digest: string): string {
  return `"${digest}"`;
}

/** Whether `If-None-Match` names this tag: answer 304. Weak comparison, RFC 9110, section 13.1.2. */
export function matchesAny(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((entry) => {
    const text = entry.trim();
    return text === "*" || text === tag || text === `W/${tag}`;
  });
}

/** Whether `If-Range` allows a partial answer. Strong comparison; we send no dates, so none can match. */
export function allowsRange(header: string | undefined, tag: string): boolean {
  return header === undefined || header.trim() === tag;
}
