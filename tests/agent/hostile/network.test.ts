import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

import { gatewayAddress } from "@strata/agent/network/subnet";
import { gatewayAddress6 } from "@strata/agent/network/subnet6";

import { assert, suite } from "../../support/suite.ts";
import {
  aHostileContainer,
  type HostileContainer,
  perlOnHost,
  sortAttempts,
} from "../support/hostile-container.ts";
import { anOutsider, ask, askLine, inOwnNetwork } from "../support/own-network.ts";

function run(line: string): void {
  execFileSync("sh", ["-ec", line]);
}

/** Serves on every address of this machine. */
async function aHostService(port: number): Promise<AsyncDisposable> {
  const server = createServer((_, response) => response.end("host"));
  await new Promise<void>((resolve) => server.listen(port, "::", resolve));
  return { [Symbol.asyncDispose]: () => Promise.resolve(void server.close()) };
}

/** A container that may use its IPv6 address already. */
async function aConnectedContainer(
  options: Parameters<typeof aHostileContainer>[0] = {},
): Promise<HostileContainer> {
  const hostile = await aHostileContainer(options);
  const look = "ip address show eth0 | grep -c tentative; echo looked";
  while (!(await hostile.shell(look)).startsWith("0\n")) await delay(100);
  return hostile;
}

/** All at once, because a question that is dropped waits for two seconds. */
async function askFromInside(
  hostile: HostileContainer,
  wanted: readonly (readonly [address: string, port: number])[],
): Promise<readonly string[]> {
  const answers = wanted.map((_, index) => `/tmp/answer-${index}`);
  const lines = wanted.map(([address, port], index) => {
    return `( ${askLine(address, port)} ) > ${answers[index]} & `;
  });
  return (await hostile.shell(`${lines.join("")} wait; cat ${answers.join(" ")}`))
    .trim()
    .split("\n");
}

inOwnNetwork(import.meta.url, () => {
  suite("a hostile process and the metadata of a cloud", (test) => {
    const addresses = ["169.254.169.254", "fd00:ec2::254"] as const;
    const wanted = addresses.map((address) => [address, 80] as const);

    test("does not reach it on the cloud's network", async () => {
      await using outsider = await anOutsider();
      await outsider.serve(80);
      outsider.shell(
        "ip address add 169.254.169.254/32 dev wire; ip -6 address add fd00:ec2::254 dev wire nodad",
      );
      run(
        `ip route add 169.254.169.254 via ${outsider.address}; ip -6 route add fd00:ec2::254 via ${outsider.address6}`,
      );
      for (const address of addresses)
        assert.match(await ask(address, 80), /192\.0\.2\.1|2001:db8::1/);
      await using hostile = await aConnectedContainer();
      // The same machine at another address, as a control.
      const answers = await askFromInside(hostile, [
        ...wanted,
        [outsider.address, 80],
        [outsider.address6, 80],
      ]);
      assert.equal(answers, ["closed", "closed", "::ffff:192.0.2.1", "2001:db8::1"]);
    });

    test("does not reach it where the node has the address itself", async () => {
      run("ip link add name cloud type bridge; ip link set cloud up");
      await using _cloud = {
        [Symbol.asyncDispose]: () => Promise.resolve(run("ip link delete cloud")),
      };
      run(
        "ip address add 169.254.169.254/32 dev cloud; ip -6 address add fd00:ec2::254/128 dev cloud nodad",
      );
      await using _service = await aHostService(80);
      for (const address of addresses) assert.is(await ask(address, 80), "host");
      await using hostile = await aConnectedContainer();
      assert.equal(await askFromInside(hostile, wanted), ["closed", "closed"]);
    });

    test("does not reach it where the node redirects it", async () => {
      await using outsider = await anOutsider();
      await outsider.serve(8000);
      const redirect = (chain: string, hook: string): string =>
        `add chain inet cloud ${chain} { type nat hook ${hook} priority -110; }
         add rule inet cloud ${chain} ip daddr 169.254.169.254 meta l4proto tcp dnat ip to ${outsider.address}:8000
         add rule inet cloud ${chain} ip6 daddr fd00:ec2::254 meta l4proto tcp dnat ip6 to [${outsider.address6}]:8000\n`;
      const rules = `add table inet cloud\n${redirect("pre", "prerouting")}${redirect("out", "output")}`;
      execFileSync("nft", ["-f", "-"], { input: rules });
      await using _rules = {
        [Symbol.asyncDispose]: () => Promise.resolve(run("nft delete table inet cloud")),
      };
      run(
        `ip route add default via ${outsider.address}; ip -6 route add default via ${outsider.address6}`,
      );
      for (const address of addresses)
        assert.match(await ask(address, 80), /192\.0\.2\.1|2001:db8::1/);
      await using hostile = await aConnectedContainer();
      assert.equal(await askFromInside(hostile, wanted), ["closed", "closed"]);
    });
  });

  suite("a hostile process and the programs of the node", (test) => {
    test("reaches none, at whatever address: controller, agent, others", async () => {
      await using outsider = await anOutsider();
      const ports = [7070, 7071, 7072];
      await using services = new AsyncDisposableStack();
      for (const port of ports) services.use(await aHostService(port));
      await using hostile = await aConnectedContainer();
      const { subnet, subnet6 } = hostile.node.config;
      assert.ok(subnet6 !== undefined);
      const addresses = [
        gatewayAddress(subnet),
        gatewayAddress6(subnet6),
        outsider.ownAddress,
        outsider.ownAddress6,
      ];
      const all = addresses.flatMap((address) => ports.map((port) => [address, port] as const));
      for (const [address, port] of all) assert.is(await ask(address, port), "host");
      const answers = await askFromInside(hostile, all);
      assert.equal(
        answers,
        all.map(() => "closed"),
      );
    });

    test("reaches no loopback but its own", async () => {
      await using _service = await aHostService(7070);
      await using hostile = await aConnectedContainer();
      // Even with every right over its network, which it does not have.
      const pid = hostile.node.report("web-1")?.pid;
      const gateway = gatewayAddress(hostile.node.config.subnet);
      const inside = `nsenter -t ${pid} --net sh -c`;
      run(
        `${inside} 'ip address delete 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via ${gateway} dev eth0'`,
      );
      run(`${inside} 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet'`);
      const answer = execFileSync(
        "sh",
        ["-c", `${inside} "${askLine("127.0.0.1", 7070).replaceAll('"', '\\"')}"`],
        { encoding: "utf8" },
      );
      assert.is(answer, "closed\n");
      assert.is(await ask("127.0.0.1", 7070), "host");
    });
  });

  suite("a hostile process and the network", (test) => {
    test("opens no socket but the four usual kinds, and none that bypasses the network", async () => {
      const program = String.raw`
        for my $family (3 .. 46) {
          next if $family == 10 || $family == 16;
          attempt("family $family", sub { grep { syscall(number(41, 198), $family, $_, 0) >= 0 } 1, 2, 3, 5 });
        }
        attempt("raw", sub { syscall(number(41, 198), 2, 3, 1) >= 0 });
        attempt("raw 6", sub { syscall(number(41, 198), 10, 3, 58) >= 0 });
        attempt("packet", sub { syscall(number(41, 198), 17, 3, 0x300) >= 0 });`;
      const host = sortAttempts(perlOnHost(program)).done;
      for (const name of ["raw", "raw 6", "packet"]) assert.ok(host.includes(name), name);
      await using hostile = await aHostileContainer();
      assert.equal(sortAttempts(await hostile.perl(program)).done, []);
    });

    test("takes no other address, and answers for none", async () => {
      const program = String.raw`
        use Socket qw(:all);
        socket(my $udp, AF_INET6, SOCK_DGRAM, 0) or die;
        my $one = pack "i", 1;
        attempt("freebind", sub { setsockopt($udp, 0, 15, 1) });
        attempt("freebind 6", sub { setsockopt($udp, 41, 78, 1) });
        attempt("high bits", sub { syscall(number(54, 208), fileno($udp), 1 << 32, 15, $one, 4) == 0 });
        attempt("transparent", sub { setsockopt($udp, 0, 19, 1) });
        for my $name (qw(ipv4/conf/all/proxy_arp ipv4/conf/all/forwarding ipv4/ip_nonlocal_bind
            ipv6/conf/all/proxy_ndp ipv6/ip_nonlocal_bind)) {
          attempt($name, sub { can_write("/proc/sys/net/$name") });
        }`;
      assert.equal(sortAttempts(perlOnHost(program)).refused, []);
      await using hostile = await aHostileContainer();
      assert.equal(sortAttempts(await hostile.perl(program)).done, []);
      const change = "ip address add 10.1.2.3/24 dev eth0 2>&1 || echo refused";
      assert.match(await hostile.shell(change), /refused\n$/);
    });

    test("is heard under its own addresses alone, even if it could send others", async () => {
      await using hostile = await aConnectedContainer();
      const heard: string[] = [];
      const ear = createSocket("udp6", (message) => heard.push(message.toString("utf8")));
      await new Promise<void>((resolve) => ear.bind(53, "::", resolve));
      await using _ear = { [Symbol.asyncDispose]: () => Promise.resolve(void ear.close()) };
      // A program of the host in the container's network, with every right and no filter.
      const { pid, address = "", address6 = "" } = hostile.node.report("web-1") ?? {};
      const { subnet, subnet6 } = hostile.node.config;
      assert.ok(subnet6 !== undefined);
      const targets = [
        { to: gatewayAddress(subnet), own: address, foreign: "198.51.100.7" },
        { to: gatewayAddress6(subnet6), own: address6, foreign: "2001:db8:ffff::7" },
      ];
      const send = (from: string, to: string): string => String.raw`
        { my $v6 = ${from.includes(":") ? 1 : 0};
          socket(my $udp, $v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or die;
          setsockopt($udp, 0, 19, 1) or die "transparent: $!"; setsockopt($udp, 0, 15, 1) or die;
          setsockopt($udp, 41, 75, 1) or die if $v6;
          bind($udp, $v6 ? pack_sockaddr_in6(0, inet_pton(AF_INET6, "${from}")) : pack_sockaddr_in(0, inet_aton("${from}"))) or die "bind ${from}: $!";
          send($udp, "${from}", 0, $v6 ? pack_sockaddr_in6(53, inet_pton(AF_INET6, "${to}")) : pack_sockaddr_in(53, inet_aton("${to}"))) or die "send ${from}: $!"; }`;
      const program = targets
        .map(({ to, own, foreign }) => send(foreign, to) + send(own, to))
        .join("\n");
      execFileSync("nsenter", ["-t", String(pid), "--net", "perl", "-MSocket=:all", "-e", program]);
      // What is sent first arrives first.
      while (!(heard.includes(address) && heard.includes(address6))) await delay(20);
      assert.equal(heard.toSorted(), [address, address6].toSorted());
    });

    test("reaches no port that another container keeps to its own loopback", async () => {
      const page =
        "echo private > /var/www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /var/www";
      await using hostile = await aConnectedContainer({ spec: { command: ["sh", "-c", page] } });
      assert.equal(await askFromInside(hostile, [["127.0.0.1", 8080]]), ["private"]);
      const { address = "", address6 = "" } = hostile.node.report("web-1") ?? {};
      const connect = `use Socket qw(:all);
        for my $to ("127.0.0.1", "${address}") {
          attempt($to, sub { socket(my $s, AF_INET, SOCK_STREAM, 0); connect($s, pack_sockaddr_in(8080, inet_aton($to))) });
        }
        attempt("6", sub { socket(my $s, AF_INET6, SOCK_STREAM, 0); connect($s, pack_sockaddr_in6(8080, inet_pton(AF_INET6, "${address6}"))) });`;
      assert.equal(sortAttempts(await hostile.perlNextDoor(connect)).done, []);
    });
  });
});
