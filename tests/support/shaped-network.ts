/** Machines on one switch, in this program's own network (`inOwnNetwork`): this machine's wire to the switch is slow, the
 * others' are not. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readlinkSync } from "node:fs";

import { seeOwnDevices } from "./machine.ts";

export type ShapedNetwork = AsyncDisposable & {
  /** Of this machine. */
  readonly address: string;
  readonly machines: readonly ShapedMachine[];
  /** Bytes that this machine has sent on its wire, headers included. */
  readonly sentBytes: () => number;
  /** As tc writes it. */
  readonly setRate: (rate: string) => void;
};

export type ShapedMachine = {
  readonly address: string;
  /** What a command is run by to run there: the program, and its first arguments. */
  readonly enter: readonly [string, ...string[]];
};

const PREFIX = "10.232.0";
/** This machine's wire, and its other end in the switch. */
const [WIRE, PLUG] = ["uplink", "uplink-plug"];

/** `rate` as tc writes it: what this machine sends. */
export async function aShapedNetwork(options: {
  readonly machines: number;
  readonly rate: string;
}): Promise<ShapedNetwork> {
  const here = (line: string): void => void execFileSync("sh", ["-ec", line]);
  await using undo = new AsyncDisposableStack();
  here(`ip link add name switch type bridge; ip link set switch up
    ip link add name ${WIRE} type veth peer name ${PLUG}
    ip link set ${PLUG} master switch up
    ip address add ${PREFIX}.1/24 dev ${WIRE}; ip link set ${WIRE} up`);
  const setRate = (rate: string): void =>
    here(`tc qdisc replace dev ${WIRE} root tbf rate ${rate} burst 1mb latency 400ms`);
  setRate(options.rate);
  undo.defer(() => here(`ip link delete ${WIRE}; ip link delete switch`));
  const machines: ShapedMachine[] = [];
  for (let index = 0; index < options.machines; index += 1) {
    const keeper = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec sleep infinity"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    undo.defer(async () => {
      keeper.kill("SIGKILL");
      if (keeper.exitCode === null && keeper.signalCode === null) await once(keeper, "exit");
    });
    await once(keeper.stdout, "data");
    const pid = keeper.pid ?? 0;
    if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net"))
      throw new Error("the machine has this network");
    const address = `${PREFIX}.${10 + index}`;
    const net = `nsenter -t ${pid} --net`;
    here(`ip link add name plug${index} type veth peer name wire netns ${pid}
      ip link set plug${index} master switch up
      ${net} ip link set lo up
      ${net} ip address add ${address}/24 dev wire; ${net} ip link set wire up
      ${net} ip route add default via ${PREFIX}.1`);
    machines.push({
      address,
      enter: [
        "nsenter",
        "-t",
        String(pid),
        "--net",
        "unshare",
        "--mount",
        "sh",
        "-c",
        seeOwnDevices,
        "sh",
      ],
    });
  }
  const whole = undo.move();
  return {
    address: `${PREFIX}.1`,
    machines,
    setRate,
    sentBytes: () => Number(readFileSync(`/sys/class/net/${WIRE}/statistics/tx_bytes`, "utf8")),
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}
