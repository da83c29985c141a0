import { isIPv4 } from "node:net";

import { AgentError } from "../errors.ts";

/** An IPv4 network. The first host address is the bridge's; container number `slot` has the one after the next. */
export type Subnet = { readonly network: number; readonly prefix: number };

/** @throws AgentError CONFIG_INVALID */
export function parseSubnet(text: string): Subnet {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const numbers = match?.slice(1).map(Number) ?? [];
  const [a = 256, b = 256, c = 256, d = 256, prefix = 0] = numbers;
  const network = ((a * 256 + b) * 256 + c) * 256 + d;
  const fits = [a, b, c, d].every((part) => part <= 255) && prefix >= 8 && prefix <= 24;
  if (!fits || network % 2 ** (32 - prefix) !== 0) {
    throw new AgentError("CONFIG_INVALID", `${JSON.stringify(text)} is not a network`, {
      hint: "set STRATA_SUBNET to the likes of 10.77.0.0/16: host bits zero, prefix from 8 to 24",
    });
  }
  return { network, prefix };
}

function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

export function formatSubnet({ network, prefix }: Subnet): string {
  return `${formatAddress(network)}/${prefix}`;
}

export function gatewayAddress({ network }: Subnet): string {
  return formatAddress(network + 1);
}

export function containerAddress({ network }: Subnet, slot: number): string {
  return formatAddress(network + 2 + slot);
}

/** Local to the machine, as the bit of value 2 says. */
export function containerMac(subnet: Subnet, slot: number): string {
  const parts = containerAddress(subnet, slot).split(".").map(Number);
  return [0x02, 0x73, ...parts].map((part) => part.toString(16).padStart(2, "0")).join(":");
}

/** Which container has this address; undefined when none of this network can. */
export function slotOfAddress(subnet: Subnet, address: string): number | undefined {
  const parts = isIPv4(address) ? address.split(".").map(Number) : [];
  if (parts.length === 0) return undefined;
  const slot = parts.reduce((whole, part) => whole * 256 + part, 0) - subnet.network - 2;
  return slot >= 0 && slot < countSlots(subnet) ? slot : undefined;
}

/** How many containers have an address: all but network, gateway and broadcast. */
export function countSlots({ prefix }: Subnet): number {
  return 2 ** (32 - prefix) - 3;
}
