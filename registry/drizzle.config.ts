import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  casing: "snake_case",
  schema: "./src/drivers/sqlite/schema.ts",
  out: "./src/drivers/sqlite/migrations",
});
