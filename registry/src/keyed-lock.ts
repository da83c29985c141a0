/** Runs bodies of the same key one after the other, and those of different keys at once. */
export type KeyedLock = <Result>(key: string, body: () => Promise<Result>) => Promise<Result>;

export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();
  return async (key, body) => {
    const previous = tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    tails.set(key, promise);
    await previous;
    try {
      return await body();
    } finally {
      resolve();
      if (tails.get(key) === promise) tails.delete(key);
    }
  };
}
