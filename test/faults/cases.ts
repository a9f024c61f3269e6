/** The matrix: what is broken, and what may come of it. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { digestHex } from '../../src/oci/digest.ts';
import { run, runOk } from '../support/program.ts';
import { amid, holders, underRules, type Case } from './case.ts';
import { REGISTRY_CASES } from './registry-cases.ts';
import type { Site, SiteOptions, Summary } from './site.ts';
import type { PullWish } from './wish.ts';

const STOPPED = 15 * SECOND;
const CUT = 20 * SECOND;
const LARGE = [60 * MIB];
const NO_WATCHDOG = { 'mirror.hang-timeout': '0s' };

const restart = async (
  site: Site,
  index: number,
  changes?: Readonly<Record<string, string>>,
): Promise<void> => {
  await site.node(index).kill();
  await site.startNode(index, changes);
};

/** All blobs have begun when the link goes: what begins while it is down finds nobody without Weir, too. */
async function cutOff(site: Site, milliseconds: number, wish: Partial<PullWish> = {}): Promise<Summary> {
  await site.pull(undefined, { parallel: site.image.blobs.length, ...wish });
  await site.untilAll(0.15);
  await site.until(0.3);
  await site.lan.setLink(site.host(2), 'down');
  await delay(milliseconds);
  await site.lan.setLink(site.host(2), 'up');
  return site.ended();
}

async function stopForAWhile(site: Site): Promise<void> {
  site.node(2).signal('SIGSTOP');
  await delay(STOPPED);
  site.node(2).signal('SIGCONT');
}

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
    act: amid(0.4, async (site) => stopForAWhile(site)),
  },
  {
    title: 'a node is stopped for 15 s without a watchdog',
    site: { settings: NO_WATCHDOG },
    act: amid(0.4, async (site) => stopForAWhile(site)),
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
    act: async (site) => cutOff(site, CUT),
  },
  {
    title: "a node's link is down for 20 s, podman",
    act: async (site) => cutOff(site, CUT, { dependent: true }),
  },
  {
    title: "a node's link is down for 4 s",
    act: async (site) => cutOff(site, 4 * SECOND),
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
  ...REGISTRY_CASES,
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
    title:
      'two nodes have the image, all are started anew, the registry is down, and the other three pull at once',
    isDirectWorse: true,
    isShort: true,
    act: async (site) => {
      await holders(site, [0, 1]);
      await Promise.all(site.nodes.map((node) => node.kill()));
      await site.stopRegistry();
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
    images: 1.3,
    act: underRules(),
  },
  {
    title: 'a layer is larger than the quota, by ten ranges, one node',
    site: { layers: LARGE, settings: { 'store.quota': '16MiB' }, count: 1 },
    images: 1.3,
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
