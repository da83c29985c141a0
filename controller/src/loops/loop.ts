import type { Logger } from "pino";

export type Loop = {
  /** Asks for a tick soon. Many calls before it runs are one. */
  readonly wake: () => void;
  /** No tick runs after the promise is kept. */
  readonly stop: () => Promise<void>;
};

export type LoopOptions = {
  readonly name: string;
  /** One bounded piece of work. True asks for another at once, a number for one after so many milliseconds. */
  readonly tick: () => boolean | number | Promise<boolean | number>;
  /** A tick comes at least this often. */
  readonly intervalMs: number;
  readonly logger: Logger;
};

const ERROR_DELAY_MS_MAX = 30_000;

/** Runs `tick` when woken and every `intervalMs`, never two at a time. A tick that throws is logged and tried again
 * with a growing delay: the loop itself never ends before `stop`. */
export function startLoop({ name, tick, intervalMs, logger }: LoopOptions): Loop {
  const stopped = Promise.withResolvers<void>();
  const state = { stopping: false };
  let woken = Promise.withResolvers<void>();
  let errors = 0;

  const run = async (): Promise<void> => {
    while (!state.stopping) {
      woken = Promise.withResolvers<void>();
      let more: boolean | number = false;
      try {
        more = await tick();
        errors = 0;
      } catch (error) {
        errors += 1;
        logger.error({ loop: name, err: error, errors }, "a tick failed");
      }
      // Between two ticks requests get their turn, however much there is to do.
      if (more === true) await immediate();
      else if (errors > 0) await pause(errorDelayMs(errors), true);
      else await pause(more === false ? intervalMs : Math.min(intervalMs, more), false);
    }
  };
  const pause = async (ms: number, deaf: boolean): Promise<void> => {
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, ms);
    await Promise.race([timeout.promise, stopped.promise, ...(deaf ? [] : [woken.promise])]);
    clearTimeout(timer);
  };
  const finished = run();
  return {
    wake: () => woken.resolve(),
    stop: async () => {
      state.stopping = true;
      stopped.resolve();
      await finished;
    },
  };
}

function errorDelayMs(errors: number): number {
  return Math.min(ERROR_DELAY_MS_MAX, 250 * 2 ** Math.min(errors, 10));
}

async function immediate(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  await promise;
}
