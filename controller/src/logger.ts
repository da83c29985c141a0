import { type Logger, pino } from "pino";

/** JSON lines on standard output. Fields that could hold a secret never appear. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ["*.authorization", "*.token", "*.secret", "*.credential"],
  });
}
