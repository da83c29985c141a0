import type { Duplex } from "node:stream";

/** What is still on its way to the client when the agent has ended may take this long. */
const LINGER_MS = 5000;

/** Joins two connections: what one says the other hears, and a slow one slows the other. The agent's end is the end of
 * both. A client that ends has no more input; one that is gone ends the agent's side too. */
export function splice({
  client,
  agent,
}: {
  readonly client: Duplex;
  readonly agent: Duplex;
}): void {
  client.pipe(agent);
  agent.pipe(client);
  const close = (): void => {
    client.destroy();
    agent.destroy();
  };
  const finish = (): void => {
    client.end();
    client.once("finish", close);
    setTimeout(close, LINGER_MS).unref();
  };
  agent.once("end", finish);
  agent.once("close", finish);
  agent.on("error", close);
  client.once("close", close);
  client.on("error", close);
}
