/** Times at which a policy has other bounds: weekly windows or single periods, on the clock of an IANA time zone.
 * Used when a policy is written (no overlap may ask for the impossible) and at run time (which one is active). */
import { z } from "zod";

const MINUTES_OF_DAY = 1440;
const MINUTES_OF_WEEK = 7 * MINUTES_OF_DAY;
/** Offsets between two zones are looked up once a week over these days; any year since 2007 has the same rules. */
const SAMPLE_WEEKS = 106;
const SAMPLE_START = "2026-01-01T12:00:00Z";

const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

const Count = z.int().min(0).max(100_000);
/** The name of a time zone in the IANA database. */
export const TimeZone = z.string().max(64).refine(isTimeZone, {
  message: "not a time zone of the IANA database; write one such as Europe/Berlin, or UTC",
  abort: true,
});
const TimeOfDay = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, { message: "write a time of day as HH:MM", abort: true });
const LocalDateTime = z.string().refine(isLocalDateTime, {
  message: "write a date and time of day without an offset, such as 2026-12-24T18:00",
  abort: true,
});

/** What a schedule changes while it is active. Where several are, the highest min and the lowest max hold. */
const bounds = {
  min: Count.optional(),
  max: Count.optional(),
  /** At least this many when the schedule begins; afterwards `min` holds. */
  initialMin: Count.optional(),
  timeZone: TimeZone.default("UTC"),
};

export const ScheduleInput = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("weekly"),
    days: z
      .array(z.enum(weekdays))
      .min(1)
      .max(7)
      .default([...weekdays]),
    from: TimeOfDay,
    /** Not after `from`: on the next day. Equal to it: a whole day. */
    to: TimeOfDay,
    ...bounds,
  }),
  z
    .strictObject({ kind: z.literal("once"), from: LocalDateTime, to: LocalDateTime, ...bounds })
    .refine(
      (period) => onceInterval(period).start < onceInterval(period).end,
      "from is not before to",
    ),
]);
export type Schedule = z.output<typeof ScheduleInput>;

type Weekly = Extract<Schedule, { readonly kind: "weekly" }>;
type Once = Extract<Schedule, { readonly kind: "once" }>;
/** Without an offset: what the clocks of the zone show. */
type Period = { readonly from: string; readonly to: string; readonly timeZone: string };
type Interval = { readonly start: number; readonly end: number };

/** Is this schedule active at that instant? The end is excluded. */
export function isActive(schedule: Schedule, nowMs: number): boolean {
  if (schedule.kind === "once") {
    const { start, end } = onceInterval(schedule);
    return nowMs >= start && nowMs < end;
  }
  const local = Temporal.Instant.fromEpochMilliseconds(nowMs).toZonedDateTimeISO(schedule.timeZone);
  const minute = (local.dayOfWeek - 1) * MINUTES_OF_DAY + local.hour * 60 + local.minute;
  return weeklyIntervals(schedule).some((interval) => holds(interval, minute));
}

/** Can both be active at one instant? May say yes to windows that only touch when clocks change. */
export function canOverlap(a: Schedule, b: Schedule): boolean {
  if (a.kind === "once") return b.kind === "once" ? onceOverlaps(a, b) : onceMeetsWeekly(a, b);
  return b.kind === "once" ? onceMeetsWeekly(b, a) : weeklyOverlap(a, b);
}

function isTimeZone(name: string): boolean {
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name);
    return true;
  } catch {
    return false;
  }
}

function isLocalDateTime(text: string): boolean {
  try {
    Temporal.PlainDateTime.from(text);
    return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/.test(text);
  } catch {
    return false;
  }
}

function onceInterval({ from, to, timeZone }: Period): Interval {
  const instant = (text: string): number =>
    Temporal.PlainDateTime.from(text).toZonedDateTime(timeZone).epochMilliseconds;
  return { start: instant(from), end: instant(to) };
}

function minuteOfDay(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
}

/** In minutes since Monday 00:00 local time; the end may lie past the week's. */
function weeklyIntervals({ days, from, to }: Weekly): readonly Interval[] {
  const begin = minuteOfDay(from);
  const length = ((minuteOfDay(to) - begin + MINUTES_OF_DAY - 1) % MINUTES_OF_DAY) + 1;
  return days.map((day) => {
    const start = weekdays.indexOf(day) * MINUTES_OF_DAY + begin;
    return { start, end: start + length };
  });
}

function holds({ start, end }: Interval, minuteOfWeek: number): boolean {
  return (
    (minuteOfWeek >= start && minuteOfWeek < end) ||
    (minuteOfWeek + MINUTES_OF_WEEK >= start && minuteOfWeek + MINUTES_OF_WEEK < end)
  );
}

function onceOverlaps(a: Once, b: Once): boolean {
  const [first, second] = [onceInterval(a), onceInterval(b)];
  return first.start < second.end && second.start < first.end;
}

function onceMeetsWeekly(once: Once, weekly: Weekly): boolean {
  const { start, end } = onceInterval(once);
  if (end - start >= 8 * 86_400_000 || isActive(weekly, start)) return true;
  // Otherwise they overlap only if a window begins inside the period, on one of at most ten days.
  const firstDay = Temporal.Instant.fromEpochMilliseconds(start)
    .toZonedDateTimeISO(weekly.timeZone)
    .toPlainDate();
  for (let offset = 0; offset < 10; offset += 1) {
    const day = firstDay.add({ days: offset });
    const name = weekdays[day.dayOfWeek - 1];
    if (name === undefined || !weekly.days.includes(name)) continue;
    const begin = day
      .toPlainDateTime(weekly.from)
      .toZonedDateTime(weekly.timeZone).epochMilliseconds;
    if (begin >= start && begin < end) return true;
  }
  return false;
}

function weeklyOverlap(a: Weekly, b: Weekly): boolean {
  for (const shift of zoneDifferences(a.timeZone, b.timeZone)) {
    for (const first of weeklyIntervals(a)) {
      for (const second of weeklyIntervals(b)) {
        if (circularOverlap(first, { start: second.start + shift, end: second.end + shift }))
          return true;
      }
    }
  }
  return false;
}

function circularOverlap(a: Interval, b: Interval): boolean {
  return [-MINUTES_OF_WEEK, 0, MINUTES_OF_WEEK, -2 * MINUTES_OF_WEEK, 2 * MINUTES_OF_WEEK].some(
    (turn) => a.start < b.end + turn && b.start + turn < a.end,
  );
}

/** Every number of minutes by which the clocks of `a` are ahead of those of `b` at some time of the year. */
function zoneDifferences(a: string, b: string): ReadonlySet<number> {
  if (a === b) return new Set([0]);
  const start = Temporal.Instant.from(SAMPLE_START);
  const differences = new Set<number>();
  for (let week = 0; week < SAMPLE_WEEKS; week += 1) {
    const instant = start.add({ hours: week * 7 * 24 });
    const offset = (zone: string): number =>
      instant.toZonedDateTimeISO(zone).offsetNanoseconds / 6e10;
    differences.add(offset(a) - offset(b));
  }
  return differences;
}
