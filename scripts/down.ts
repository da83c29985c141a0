/** `node scripts/down.ts [--purge]`: see scripts/down. */
import { bringDown } from "./instance/bring-down.ts";
import { loadInstance, SetupError } from "./instance/instance.ts";
import { parseOptions } from "./parse-options.ts";

const { values } = parseOptions("scripts/down", {
  options: { purge: { type: "boolean", default: false } },
});

try {
  await bringDown(loadInstance(process.env), {
    purge: values.purge,
    say: (line) => console.log(line),
  });
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`down: ${error.message}\n      ${error.remedy}`);
  process.exitCode = 1;
}
