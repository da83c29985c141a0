/** One page of a list that is sorted by a unique key: what comes after `after`, at most `limit`. */
export type Page = { readonly after: string; readonly limit: number };
