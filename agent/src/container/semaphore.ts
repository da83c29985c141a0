/** Lets at most `max` callers be between `acquire` and its release at a time; the others wait in order. */
export function createSemaphore(max: number): { readonly acquire: () => Promise<Disposable> } {
  const waiting: (() => void)[] = [];
  let taken = 0;
  const release = (): void => {
    const next = waiting.shift();
    if (next === undefined) taken -= 1;
    else next();
  };
  return {
    acquire: async () => {
      if (taken < max) taken += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      return { [Symbol.dispose]: release };
    },
  };
}
