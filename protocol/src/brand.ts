/** A string that only its own `parse…` can make, so that two kinds of id cannot be swapped. */
export type Branded<Name extends string> = string & { readonly __brand: Name };
