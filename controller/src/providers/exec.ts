import { DurationMs } from "@strata/protocol/units";
/** VMs by any program: it gets one JSON object on standard input and answers one on standard output. The protocol is
 * in docs/reference/providers.md, a sample in examples/providers/.
 *
 * What no program should have to get right stays here: whose a VM is, the limits, and that no two creations with one
 * client token run at once. */
import { z } from "zod";

import { renderCloudConfig } from "./cloud-init.ts";
import { ProviderError, type ProviderErrorCode } from "./errors.ts";
import { renderShellScript } from "./first-boot.ts";
import { guardCalls } from "./guard-calls.ts";
import { parseVmId, vmStates, VM_COUNT_MAX } from "./provider.ts";
import type { Provider, Vm, VmRequest } from "./provider.ts";
import { failedRun, type ProgramResult, runProgram } from "./run-program.ts";

const Text = z
  .string()
  .max(4096)
  // oxlint-disable-next-line no-control-regex -- a NUL cannot be in an argument or the environment
  .regex(/^[^\u0000]*$/);

export const ExecSettings = z.strictObject({
  kind: z.literal("exec"),
  /** The program by its absolute path, and its arguments. It runs as the controller's user. */
  command: z.tuple([Text.startsWith("/")], Text),
  /** Its environment, besides PATH and LANG. Secrets belong into files that it reads. */
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), Text).default({}),
  /** Of one call. */
  timeout: DurationMs.refine((ms) => ms >= 100 && ms <= 3_600_000, "from 100ms to 1h").default(
    300_000,
  ),
});
export type ExecSettings = z.infer<typeof ExecSettings>;

export type ExecProviderOptions = {
  readonly controllerId: string;
  readonly settings: ExecSettings;
};

export function createExecProvider({ controllerId, settings }: ExecProviderOptions): Provider {
  const ask = createAsk(settings, controllerId);

  async function find(id: string, signal: AbortSignal): Promise<AnsweredVm | null> {
    return (await ask({ action: "describe", id }, VmOrNullAnswer, signal)).vm;
  }

  async function createVm(request: VmRequest, signal: AbortSignal): Promise<Vm> {
    const question = { action: "create", request: toQuestion(request) };
    const { vm } = await ask(question, VmAnswer, signal);
    if (vm.controllerId !== controllerId || vm.clientToken !== request.clientToken) {
      throw new ProviderError(
        "PROVIDER_INVALID",
        `${request.clientToken} was asked for, but ${vm.id} belongs to somebody else`,
      );
    }
    return toVm(vm);
  }

  async function deleteVm(id: string, signal: AbortSignal): Promise<void> {
    const vm = await find(id, signal);
    if (vm === null) return;
    if (vm.controllerId !== controllerId) {
      throw new ProviderError("PROVIDER_INVALID", `${id} belongs to another controller`);
    }
    await ask({ action: "delete", id }, DoneAnswer, signal);
  }

  return guardCalls(
    {
      create: createVm,
      delete: deleteVm,
      list: async (signal) => {
        const { vms } = await ask({ action: "list" }, VmsAnswer, signal);
        return vms.filter((vm) => vm.controllerId === controllerId).map(toVm);
      },
      describe: async (id, signal) => {
        const vm = await find(id, signal);
        return vm?.controllerId === controllerId ? toVm(vm) : undefined;
      },
    },
    settings.timeout,
  );
}

const AnsweredVm = z.object({
  id: z.string().max(255),
  controllerId: z.string(),
  clientToken: z.string(),
  partition: z.string(),
  labels: z.record(z.string(), z.string()).default({}),
  state: z.enum(vmStates),
  message: z.string().max(4096).optional(),
});
type AnsweredVm = z.infer<typeof AnsweredVm>;

const VmAnswer = z.object({ vm: AnsweredVm });
const VmOrNullAnswer = z.object({ vm: AnsweredVm.nullable() });
const VmsAnswer = z.object({ vms: z.array(AnsweredVm).max(VM_COUNT_MAX) });
const DoneAnswer = z.object({});

/** The words of the protocol, and what they mean here. */
const codeOfWord = {
  quota: "PROVIDER_QUOTA",
  capacity: "PROVIDER_CAPACITY",
  auth: "PROVIDER_AUTH",
  unreachable: "PROVIDER_UNREACHABLE",
  invalid: "PROVIDER_INVALID",
  timeout: "PROVIDER_TIMEOUT",
  failed: "PROVIDER_FAILED",
} as const satisfies Readonly<Record<string, ProviderErrorCode>>;

const ErrorAnswer = z.object({
  error: z.object({
    code: z.enum(["quota", "capacity", "auth", "unreachable", "invalid", "timeout", "failed"]),
    message: z.string().max(4096),
    hint: z.string().max(4096).optional(),
  }),
});

type Ask = <Answer>(
  question: Readonly<Record<string, unknown>>,
  answer: z.ZodType<Answer>,
  signal: AbortSignal,
) => Promise<Answer>;

function createAsk(settings: ExecSettings, controllerId: string): Ask {
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    LANG: "C.UTF-8",
  };
  return async (question, answer, signal) => {
    const result = await runProgram(
      {
        command: settings.command,
        env: { ...env, ...settings.env },
        stdin: `${JSON.stringify({ protocol: 1, controllerId, ...question })}\n`,
      },
      signal,
    );
    const value = parseAnswer(settings, result);
    const refused = ErrorAnswer.safeParse(value);
    if (refused.success) {
      const { code, message, hint } = refused.data.error;
      throw new ProviderError(codeOfWord[code], message, hint === undefined ? {} : { hint });
    }
    if (result.exitCode !== 0) throw failedRun(settings.command[0], result);
    const parsed = answer.safeParse(value);
    if (!parsed.success) throw wrongAnswer(settings, z.prettifyError(parsed.error));
    return parsed.data;
  };
}

function parseAnswer(settings: ExecSettings, result: ProgramResult): unknown {
  try {
    return JSON.parse(result.stdout);
  } catch (cause) {
    if (result.exitCode !== 0) throw failedRun(settings.command[0], result);
    throw wrongAnswer(settings, "it is not JSON", cause);
  }
}

function wrongAnswer({ command }: ExecSettings, why: string, cause?: unknown): ProviderError {
  return new ProviderError(
    "PROVIDER_FAILED",
    `the answer of ${command[0]} is not of the protocol: ${why}`,
    {
      cause,
      hint: "see docs/reference/providers.md for what it must answer",
    },
  );
}

function toQuestion({ firstBoot, ...request }: VmRequest): Readonly<Record<string, unknown>> {
  return {
    ...request,
    userData: renderCloudConfig(firstBoot),
    script: renderShellScript(firstBoot),
  };
}

function toVm(answered: AnsweredVm): Vm {
  const { id, clientToken, partition, labels, state, message } = answered;
  const vm = { id: parseVmId(id), clientToken, partition, labels, state };
  return message === undefined ? vm : { ...vm, message };
}
