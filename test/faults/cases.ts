/** The matrix: what is broken, and what may come of it. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { digestHex } from '../../src/oci/digest.ts';
import type { WrittenRule } from '../support/fault-rules.ts';
import { run, runOk } from '../support/program.ts';
import type { Site, SiteOptions, Summary } from './site.ts';

export interface Case {
  readonly title: string;
  /** A pull without Weir fails or hangs: then one through Weir may, but no byte may be wrong. */
  readonly isDirectWorse?: boolean;
  readonly site?: SiteOptions;
  /** Images that may leave the registry; default 2.5 (a node that died or was cut off takes one more). */
  readonly images?: number;
  /** Whether it is part of `make test`. */
  readonly isShort?: boolean;
  readonly act: (site: Site) => Promise<Summary>;
}

const BLOBS = '/blobs/';
const STOPPED = 15 * SECOND;
const CUT = 20 * SECOND;
const LARGE = [60 * MIB];
const NO_WATCHDOG = { 'mirror.hang-timeout': '0s' };

const answer = (status: number, headers: Record<string, string> = {}): WrittenRule['fault'] => ({
  kind: 'answer',
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: '{"errors":[{"code":"UNAVAILABLE","message":"test"}]}',
});

/** All pull while the registry follows these rules. */
const underRules =
  (...rules: readonly WrittenRule[]): Case['act'] =>
  async (site) => {
    await site.misbehave(...rules);
    await site.pull();
    return site.ended();
  };

/** All pull, and this happens when they have `share` of the image. */
const amid =
  (share: number, event: (site: Site) => Promise<unknown>): Case['act'] =>
  async (site) => {
    await site.pull();
    await site.untilAll(share / 2);
    await site.until(share);
    await event(site);
    return site.ended();
  };

const restart = async (
  site: Site,
  index: number,
  changes?: Readonly<Record<string, string>>,
): Promise<void> => {
  await site.node(index).kill();
  await site.startNode(index, changes);
};

const holders = async (site: Site, nodes: readonly number[]): Promise<void> => {
  await site.pull(nodes);
  const { failed, hung, errors } = await site.ended();
  if (failed + hung > 0) throw new Error(`the first pull failed: ${errors.join('; ')}`);
  await site.mark();
};

/** Flips one bit in the middle of the largest blob that the node has stored. */
async function flipByte(site: Site, index: number): Promise<void> {
  const hex = digestHex(site.image.blobs.at(-1)?.digest ?? site.image.digest);
  const names = await readdir(site.dataFolder(index), { recursive: true });
  const name = names.find((each) => each.replaceAll('/', '').includes(hex));
  if (name === undefined) throw new Error(`node ${index} has no ${hex}`);
  await using file = await open(join(site.dataFolder(index), name), 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, MIB);
  await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, MIB);
}

/** A file system of the node's own in memory, seen by all namespaces that are made from now on. */
const onTmpfs =
  (size: string): NonNullable<SiteOptions['within']> =>
  (index, site) =>
    index === 2
      ? [
          'sh',
          '-c',
          `mount -t tmpfs -o size=${size},mode=700 tmpfs ${site.dataFolder(index)} && exec "$@"`,
          'sh',
        ]
      : [];

/** Runs a command where the node's file system is seen. */
const beside = (site: Site, command: string): Promise<unknown> =>
  run('nsenter', ['--target', String(site.node(2).pid), '--mount', 'sh', '-c', command]);

export const CASES: readonly Case[] = [
  { title: 'nothing is wrong', images: 1.3, isShort: true, act: amid(0, async () => undefined) },
  {
    title: 'a node is killed in mid-pull and started again',
    isShort: true,
    act: amid(0.4, async (site) => restart(site, 2)),
  },
  { title: 'a node is killed in mid-pull for good', act: amid(0.2, async (site) => site.node(0).kill()) },
  {
    title: 'a node is ended in mid-pull and started again, as by an upgrade',
    act: amid(0.4, async (site) => {
      await site.node(2).terminate();
      await site.startNode(2);
    }),
  },
  {
    title: 'a node is stopped for 15 s; its watchdog ends it',
    act: amid(0.4, async (site) => {
      site.node(2).signal('SIGSTOP');
      await delay(STOPPED);
      site.node(2).signal('SIGCONT');
    }),
  },
  {
    title: 'a node is stopped for 15 s without a watchdog',
    site: { settings: NO_WATCHDOG },
    act: amid(0.4, async (site) => {
      site.node(2).signal('SIGSTOP');
      await delay(STOPPED);
      site.node(2).signal('SIGCONT');
    }),
  },
  {
    title: 'two nodes are stopped for good; the other three',
    site: { settings: NO_WATCHDOG },
    isShort: true,
    act: async (site) => {
      await site.pull();
      await site.until(0.4);
      for (const index of [1, 3]) site.node(index).signal('SIGSTOP');
      const summary = await site.ended([0, 2, 4]);
      for (const index of [1, 3]) site.node(index).signal('SIGCONT');
      return summary;
    },
  },
  {
    title: 'all nodes are killed in mid-pull and started again',
    images: 4,
    act: amid(0.4, async (site) => {
      await Promise.all(site.nodes.map((node) => node.kill()));
      await site.startNodes();
    }),
  },
  {
    title: 'two nodes and three cannot reach each other for 10 s',
    act: amid(0.3, async ({ lan, hosts }) => {
      const heal = await lan.cut(hosts.slice(0, 2), hosts.slice(2));
      await delay(10 * SECOND);
      await heal();
    }),
  },
  {
    title: "a node's link is down for 20 s",
    isShort: true,
    act: amid(0.3, async (site) => {
      await site.lan.setLink(site.host(2), 'down');
      await delay(CUT);
      await site.lan.setLink(site.host(2), 'up');
    }),
  },
  {
    title: "a node's link is down for 20 s, podman",
    act: async (site) => {
      await site.pull(undefined, { dependent: true });
      await site.untilAll(0.15);
      await site.lan.setLink(site.host(2), 'down');
      await delay(CUT);
      await site.lan.setLink(site.host(2), 'up');
      return site.ended();
    },
  },
  {
    title: "a node's link is down for 4 s",
    act: amid(0.3, async (site) => {
      await site.lan.setLink(site.host(2), 'down');
      await delay(4 * SECOND);
      await site.lan.setLink(site.host(2), 'up');
    }),
  },
  {
    title: "a node's packets are dropped for 20 s",
    act: amid(0.3, async ({ lan, hosts, registryHost }) => {
      const [cut] = hosts.slice(2, 3);
      if (cut === undefined) throw new Error('there are three nodes');
      const heal = await lan.cut([cut], [registryHost, ...hosts.filter((host) => host !== cut)]);
      await delay(CUT);
      await heal();
    }),
  },
  {
    title: 'a twentieth of the packets between nodes is lost',
    isShort: true,
    act: async (site) => {
      for (const host of site.hosts) await site.lan.sendSinglePackets(host);
      await site.lan.lose(50, site.hosts);
      await site.pull();
      return site.ended();
    },
  },
  {
    title: "a node's link has 5 Mbit/s",
    act: async (site) => {
      await site.lan.shape(site.host(2), '5mbit');
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'a node gets nothing from another one; all else passes',
    act: async (site) => {
      await site.lan.mute(site.host(1), site.host(0));
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'the registry is killed in the middle and comes back after 5 s',
    isDirectWorse: true,
    images: 3,
    act: async (site) => {
      await site.pull();
      await site.untilSent(0.5);
      await site.stopRegistry();
      await delay(5 * SECOND);
      await site.startRegistry();
      return site.ended();
    },
  },
  {
    title: 'the registry is gone for good once the nodes have all of the image',
    isShort: true,
    act: async (site) => {
      await holders(site, [0]);
      await site.stopRegistry();
      await site.pull([1, 2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'each third request is answered 503',
    isDirectWorse: true,
    act: underRules({ path: '/v2/', every: 3, fault: answer(503) }),
  },
  {
    title: 'all requests of the first 10 s are answered 429',
    isDirectWorse: true,
    act: async (site) => {
      await site.misbehave({ path: '/v2/', fault: answer(429, { 'retry-after': '2' }) });
      await site.pull(undefined, { tries: 8 });
      await delay(10 * SECOND);
      await site.misbehave();
      return site.ended();
    },
  },
  {
    title: 'all requests of 10 s in the middle are answered 429',
    isDirectWorse: true,
    images: 4,
    act: async (site) => {
      await site.pull(undefined, { tries: 4 });
      await site.until(0.3);
      await site.misbehave({ path: '/v2/', fault: answer(429, { 'retry-after': '2' }) });
      await delay(10 * SECOND);
      await site.misbehave();
      return site.ended();
    },
  },
  {
    title: 'each body stalls after 1 MiB',
    isDirectWorse: true,
    act: underRules({ path: BLOBS, fault: { kind: 'stall-at', at: MIB } }),
  },
  {
    title: 'the first body of each blob stalls after 1 MiB',
    isDirectWorse: true,
    isShort: true,
    act: async (site) => {
      const rules = site.image.blobs.map(({ digest }) => ({
        path: digest,
        times: 1,
        fault: { kind: 'stall-at', at: MIB } as const,
      }));
      return underRules(...rules)(site);
    },
  },
  {
    title: 'each body is cut off after 1 MiB',
    act: underRules({ path: BLOBS, fault: { kind: 'cut', at: MIB } }),
  },
  {
    title: 'the first body of each blob is reset after 1 MiB',
    isDirectWorse: true,
    act: async (site) => {
      const rules = site.image.blobs.map(({ digest }) => ({
        path: digest,
        times: 1,
        fault: { kind: 'reset-at', at: MIB } as const,
      }));
      return underRules(...rules)(site);
    },
  },
  {
    title: 'a bit of a layer was wrong when it was first sent; the next pull',
    isShort: true,
    act: async (site) => {
      const path = site.image.blobs.at(-1)?.digest ?? '';
      // What a client gets of a blob before all of it is there may be wrong: its digest tells, as without Weir.
      await underRules({ path, times: 1, fault: { kind: 'flip', at: 100 } })(site);
      await site.mark();
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'the registry has 5 Mbit/s',
    site: { layers: [2 * MIB, 2 * MIB, 2 * MIB], registryRate: '5mbit' },
    act: underRules(),
  },
  {
    title: 'the registry answers each Range with the whole blob',
    site: { layers: [20 * MIB, 20 * MIB] },
    images: 5.5,
    act: underRules({ path: BLOBS, fault: { kind: 'ignore-range' } }),
  },
  {
    title: "a node's data folder has 12 MiB",
    site: { within: onTmpfs('12m') },
    images: 3,
    isShort: true,
    act: underRules(),
  },
  {
    title: "a node's disk fills up in mid-pull",
    site: { within: onTmpfs('100m') },
    images: 3,
    act: amid(0.2, async (site) =>
      beside(site, `dd if=/dev/zero of=${site.dataFolder(2)}/ballast bs=1M; true`),
    ),
  },
  {
    title: "a node's data folder turns read-only in mid-pull",
    site: { within: onTmpfs('100m') },
    images: 3,
    act: amid(0.2, async (site) => beside(site, `mount -o remount,ro ${site.dataFolder(2)}`)),
  },
  {
    title: "a node's data folder is read-only, podman",
    site: { within: onTmpfs('100m') },
    images: 3,
    isShort: true,
    act: async (site) => {
      await holders(site, [0]);
      await beside(site, `mount -o remount,ro ${site.dataFolder(2)}`);
      await site.pull([2], { dependent: true });
      return site.ended();
    },
  },
  {
    title: 'a bit is wrong on the disk of the only holder; the others pull',
    isShort: true,
    act: async (site) => {
      await holders(site, [0]);
      await flipByte(site, 0);
      await site.pull([1, 2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'a bit is wrong on the disk of the only holder, which was started anew; all pull',
    act: async (site) => {
      await holders(site, [0]);
      await site.node(0).kill();
      await flipByte(site, 0);
      await site.startNode(0);
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'the only holder comes back with another address; the others pull at once',
    act: async (site) => {
      await holders(site, [0]);
      await site.node(0).kill();
      const { namespace, address } = site.host(0);
      const other = address.replace(/\d+$/, '77');
      await runOk('ip', ['address', 'add', `${other}/24`, 'dev', 'eth0'], { within: namespace.enter });
      await site.startNode(0, { 'cluster.listen': `${other}:4772`, 'transfer.listen': `${other}:4773` });
      await site.pull([1, 2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'the address of the only holder changes while it runs; the others pull 75 s later',
    site: { settings: { 'cluster.listen': '0.0.0.0:4772', 'transfer.listen': '0.0.0.0:4773' } },
    images: 0.5,
    act: async (site) => {
      await holders(site, [0]);
      const { namespace, address } = site.host(0);
      const change = (action: string, to: string): Promise<string> =>
        runOk('ip', ['address', action, `${to}/24`, 'dev', 'eth0'], { within: namespace.enter });
      await change('del', address);
      await change('add', address.replace(/\d+$/, '78'));
      await delay(75 * SECOND);
      await site.mark();
      await site.pull([1, 2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'all nodes have the image and are started anew; the registry is down',
    isDirectWorse: true,
    act: async (site) => {
      await holders(site, [0, 1, 2, 3, 4]);
      await Promise.all(site.nodes.map((node) => node.kill()));
      await site.stopRegistry();
      await site.startNodes();
      await site.pull();
      return site.ended();
    },
  },
  {
    title: 'two nodes have the image, all are started anew, and the other three pull at once',
    images: 2,
    act: async (site) => {
      await holders(site, [0, 1]);
      await Promise.all(site.nodes.map((node) => node.kill()));
      await site.startNodes();
      await site.pull([2, 3, 4]);
      return site.ended();
    },
  },
  {
    title: 'each node may open 256 files; 60 layers, 20 at a time',
    site: {
      layers: Array.from({ length: 60 }, () => 300 * KIB),
      within: () => ['sh', '-c', 'ulimit -n 256 && exec "$@"', 'sh'],
    },
    act: async (site) => {
      await site.pull(undefined, { parallel: 20 });
      return site.ended();
    },
  },
  {
    title: '200 layers of 50 KiB',
    site: { layers: Array.from({ length: 200 }, () => 50 * KIB) },
    act: underRules(),
  },
  {
    title: '100 clients pull at one node while the others pull',
    site: { layers: [4 * MIB] },
    act: async (site) => {
      await site.pull();
      await site.pull(
        Array.from({ length: 20 }, () => 0),
        { parallel: 5 },
      );
      return site.ended();
    },
  },
  {
    title: 'a layer is larger than the quota',
    site: { layers: LARGE, settings: { 'store.quota': '16MiB' }, registryRate: '200mbit' },
    images: 5.5,
    act: underRules(),
  },
  {
    title: 'a layer is larger than the quota, by ten ranges, one node',
    site: { layers: LARGE, settings: { 'store.quota': '16MiB' }, count: 1 },
    images: 6,
    act: async (site) => {
      await site.pull(undefined, { ranges: 10 });
      return site.ended();
    },
  },
  {
    title: 'ten ranges of a layer at a time, one node alone',
    site: { layers: LARGE, count: 1 },
    images: 1.3,
    isShort: true,
    act: async (site) => {
      await site.pull(undefined, { ranges: 10 });
      return site.ended();
    },
  },
  {
    title: 'ten ranges of a layer at a time, five nodes',
    site: { layers: LARGE },
    act: async (site) => {
      await site.pull(undefined, { ranges: 10 });
      return site.ended();
    },
  },
  {
    title: 'ten ranges of a layer at a time, five nodes, the registry has 20 Mbit/s',
    site: { layers: [40 * MIB], registryRate: '20mbit' },
    act: async (site) => {
      await site.pull(undefined, { ranges: 10 });
      return site.ended();
    },
  },
];
