/** `node scripts/down.ts [--purge]`: see scripts/down. */
import { parseArgs } from "node:util";

import { bringDown } from "./instance/bring-down.ts";
import { loadInstance, SetupError } from "./instance/instance.ts";

try {
  const { values } = parseArgs({ options: { purge: { type: "boolean", default: false } } });
  await bringDown(loadInstance(process.env), {
    purge: values.purge,
    say: (line) => console.log(line),
  });
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`down: ${error.message}\n      ${error.remedy}`);
  process.exitCode = 1;
}
