/** The command lines of QEMU and its tools. Pure. */
import { createHash } from "node:crypto";
import { join } from "node:path";

import type { VmRequest } from "./provider.ts";
import type { QemuImage, QemuSettings } from "./qemu-settings.ts";

type Command = readonly [string, ...string[]];

/** All files of one VM; its folder holds nothing else. */
export type VmFiles = {
  readonly record: string;
  readonly disk: string;
  readonly seed: string;
  readonly userData: string;
  readonly metaData: string;
  readonly qmp: string;
  readonly pid: string;
  readonly bridgeScript: string;
  /** There once QEMU was started. */
  readonly started: string;
};

export function filesOf(folder: string): VmFiles {
  const file = (name: string): string => join(folder, name);
  return {
    record: file("vm.json"),
    disk: file("disk.qcow2"),
    seed: file("seed.iso"),
    userData: file("user-data"),
    metaData: file("meta-data"),
    qmp: file("qmp"),
    pid: file("pid"),
    bridgeScript: file("bridge"),
    started: file("started"),
  };
}

/** Says, as JSON, how large the image is. The format is told, never guessed: a raw disk could pretend to be another. */
export function imageInfoCommand({ disk, format }: QemuImage): Command {
  return ["qemu-img", "info", "--output=json", "-f", format, disk];
}

/** An overlay: it takes what the VM writes, and reads the rest from the image. */
export function diskCommand(target: string, image: QemuImage, diskBytes: number): Command {
  const base = ["-b", image.disk, "-F", image.format];
  return ["qemu-img", "create", "-q", "-f", "qcow2", ...base, target, String(diskBytes)];
}

/** A NoCloud seed: cloud-init finds it by its label. */
export function seedCommand(target: string, { userData, metaData }: VmFiles): Command {
  const options = ["-quiet", "-volid", "cidata", "-joliet", "-rock"];
  return ["genisoimage", ...options, "-o", target, userData, metaData];
}

export type MachineOptions = {
  readonly request: VmRequest;
  readonly image: QemuImage;
  readonly settings: QemuSettings;
  readonly accelerator: "kvm" | "tcg";
  readonly isRoot: boolean;
};

/** Starts the machine in a session of its own and returns once its devices are there. */
export function machineCommand(
  files: VmFiles,
  { request, image, settings, accelerator, isRoot }: MachineOptions,
): Command {
  const { clientToken, flavor } = request;
  const options = [
    ["-name", `guest=${clientToken}`, "-nodefaults", "-no-user-config", "-display", "none"],
    ["-machine", `q35,accel=${accelerator}`, "-cpu", accelerator === "kvm" ? "host" : "max"],
    ["-smp", String(Math.ceil(flavor.cpuMillis / 1000))],
    ["-m", `${Math.ceil(flavor.memoryBytes / 1024 ** 2)}M`],
    ["-drive", `file=${files.disk},if=virtio,format=qcow2,discard=unmap`],
    ["-drive", `file=${files.seed},if=virtio,format=raw,readonly=on`],
    ["-device", "virtio-rng-pci"],
    ["-netdev", backendOf(files, settings)],
    ["-device", `virtio-net-pci,netdev=net0,mac=${macOf(clientToken)},romfile=`],
    // Stricter choices forbid what -daemonize itself does.
    ["-sandbox", "on,obsolete=deny,resourcecontrol=deny"],
    // Once it has opened its files, QEMU gives up all rights: what breaks out of a VM is nobody.
    isRoot ? ["-runas", "65534:65534"] : [],
    // The last 64 KiB of the console, in memory: a file would grow without end.
    ["-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console"],
    ["-qmp", `unix:${files.qmp},server=on,wait=off`],
    kernelOptions(image),
    ["-pidfile", files.pid, "-daemonize"],
  ];
  return ["qemu-system-x86_64", ...options.flat()];
}

/** QEMU makes the interface of a bridge, and it goes with QEMU; the script only puts it onto the bridge. */
function backendOf({ bridgeScript }: VmFiles, { bridge }: QemuSettings): string {
  return bridge === undefined ? "user,id=net0" : `tap,id=net0,script=${bridgeScript},downscript=no`;
}

function kernelOptions({ kernel, initrd, append }: QemuImage): readonly string[] {
  if (kernel === undefined) return [];
  return [
    "-kernel",
    kernel,
    ...(initrd === undefined ? [] : ["-initrd", initrd]),
    "-append",
    append,
  ];
}

/** Told from the name alone, so that a VM keeps its address; the prefix is QEMU's. */
function macOf(clientToken: string): string {
  const [a, b, c] = createHash("sha256").update(clientToken).digest();
  return [
    "52",
    "54",
    "00",
    ...[a, b, c].map((byte = 0) => byte.toString(16).padStart(2, "0")),
  ].join(":");
}
