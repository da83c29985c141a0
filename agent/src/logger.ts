import { type Logger, pino } from "pino";

/** The agent's own log: JSON lines on standard output. */
export function createLogger(level: string): Logger {
  return pino({ level });
}
