import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { formatTable } from "../output/table.ts";
import { readConfigFile, writeConfigFile } from "../settings/config-file.ts";
import { configPath } from "../settings/connection.ts";

export async function run({ context, args }: Invocation): Promise<void> {
  const path = configPath(context);
  const config = await readConfigFile(path);
  const [name] = args;
  if (name === undefined) {
    const rows = Object.entries(config.contexts).map(([known, { url }]) => [
      known === config.current ? "*" : "",
      known,
      url,
    ]);
    return print(context, formatTable(["", "NAME", "URL"], rows));
  }
  if (config.contexts[name] === undefined) {
    throw new CliError("USAGE", `there is no context ${JSON.stringify(name)}`, {
      hint: `make it: strata login URL --name ${name}`,
    });
  }
  await writeConfigFile(path, { ...config, current: name });
  print(context, `${name} is the current context`);
}
