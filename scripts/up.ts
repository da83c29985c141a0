/** `node scripts/up.ts`: see scripts/up. Every step looks first and changes only what is not yet as wished. */
import { bringUp } from "./instance/bring-up.ts";
import { loadInstance, SetupError } from "./instance/instance.ts";
import { parseOptions } from "./parse-options.ts";

parseOptions("scripts/up", { options: {} });

try {
  await bringUp(loadInstance(process.env), (line) => console.log(line));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`up: ${error.message}\n    ${error.remedy}`);
  process.exitCode = 1;
}
