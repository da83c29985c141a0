/** HAProxy's largest weight of a server. */
const WEIGHT_MAX = 256;

/** The weight of each single process, so that each service gets its share of the requests, however many processes it
 * has. Pure. A share is kept to within 1/256 of the largest weight: a service of few per cent and many processes gets a
 * little more than its share. Alone, a service needs none. */
export function shareWeights(
  services: readonly { readonly weight: number; readonly ready: number }[],
): readonly number[] {
  if (services.length <= 1) return services.map(() => 1);
  const each = services.map(({ weight, ready }) => weight / Math.max(1, ready));
  const max = Math.max(...each);
  return each.map((weight) =>
    weight === 0 ? 0 : Math.max(1, Math.round((weight / max) * WEIGHT_MAX)),
  );
}
