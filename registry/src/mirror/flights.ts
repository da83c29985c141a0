/** Joins callers that want the same at the same time: the body runs once for all of them. */
export function createFlights<Result>(): (
  key: string,
  body: () => Promise<Result>,
) => Promise<Result> {
  const flights = new Map<string, Promise<Result>>();
  return (key, body) => {
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const flight = body().finally(() => flights.delete(key));
    flights.set(key, flight);
    return flight;
  };
}
