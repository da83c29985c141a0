/** What happens next in a simulation: a binary heap by time. Events of one time come in the order of their making. */

export type EventQueue = {
  readonly schedule: (at: number, run: () => void) => void;
  /** Runs events in order until the queue is empty or its next event is later than `end`. */
  readonly runUntil: (end: number) => void;
  readonly now: () => number;
};

type Entry = { readonly at: number; readonly order: number; readonly run: () => void };

export function createEventQueue(start: number): EventQueue {
  const heap: Entry[] = [];
  let now = start;
  let made = 0;
  return {
    now: () => now,
    schedule: (at, run) => {
      made += 1;
      push(heap, { at: Math.max(at, now), order: made, run });
    },
    runUntil: (end) => {
      for (let next = heap[0]; next !== undefined && next.at <= end; next = heap[0]) {
        pop(heap);
        now = next.at;
        next.run();
      }
      now = end;
    },
  };
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Entry[], entry: Entry): void {
  let index = heap.length;
  heap.push(entry);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || before(above, entry)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    const left = 2 * index + 1;
    const [a, b] = [heap[left], heap[left + 1]];
    if (a === undefined) break;
    const smaller = b !== undefined && before(b, a) ? b : a;
    if (before(last, smaller)) break;
    heap[index] = smaller;
    index = smaller === a ? left : left + 1;
  }
  heap[index] = last;
}
