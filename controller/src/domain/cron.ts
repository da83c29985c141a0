/** Calendars of jobs. Pure: they are asked about times, and wait for none. */
import { Cron } from "croner";

export type Calendar = {
  /** Milliseconds since 1970: the first time after this one; undefined when there is none any more. */
  readonly next: (afterMs: number) => number | undefined;
  /** The last time up to this one. */
  readonly latest: (untilMs: number) => number | undefined;
};

export type CalendarInput = { readonly cron: string; readonly timezone: string };

/** Five fields of crontab(5), in a time zone of the IANA database. A time of day that the change to summer time leaves
 * out comes at the moment of the change, one that its end brings twice comes once; what comes every so many minutes or
 * hours comes by the clock that never jumps.
 * @throws Error that says what is wrong with it. */
export function parseCalendar({ cron, timezone }: CalendarInput): Calendar {
  const pattern = new Cron(cron, { timezone, mode: "5-part", paused: true });
  return {
    next: (afterMs) => pattern.nextRun(new Date(afterMs))?.getTime(),
    // It says what is before a time.
    latest: (untilMs) => pattern.previousRuns(1, new Date(untilMs + 1))[0]?.getTime(),
  };
}

/** Why it can be no calendar; undefined where it is one. */
export function findCalendarFault(input: CalendarInput, nowMs: number): string | undefined {
  try {
    return parseCalendar(input).next(nowMs) === undefined ? "it never comes" : undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return message.split(/ Original error| This may/, 1)[0];
  }
}
