/**
 * A late node: it takes an image from the one peer that has pulled it before, and hands it to a client. Both nodes are new
 * in each turn, and the late one starts when the peer has the image.
 */
import { rm, writeFile } from 'node:fs/promises';
import { GIB, MIB } from '../../src/util/clock.ts';
import { parseManifest, ACCEPT_MANIFESTS, type Descriptor } from '../../src/oci/manifest.ts';
import type { Percentiles } from '../../test/simulator/stats.ts';
import { Registry } from '../../test/support/registry.ts';
import { controlAddress, knows } from '../../test/support/weir-cluster.ts';
import { WeirNode } from '../../test/support/weir.ts';
import { plainWrite } from '../support/plain-write.ts';
import { INSPECT } from '../support/inspector.ts';
import { LoopDelay } from '../support/loop-delay.ts';
import { peakResidentBytes, resetPeak } from '../support/process-usage.ts';
import { groupSeconds, threadTimes, type GroupSeconds } from '../support/threads.ts';
import { blobTarget, imageReference, manifestTarget, pushImage, type Tagged } from './content.ts';
import { figuresOf, type LateReport, type LateTurn, type SideTurn } from './late-figures.ts';
import { pull } from './pull.ts';
import { readBlobs } from './read-blob.ts';
import type { Scene } from './scene.ts';

const LAYERS = 4;
/** Layers at a time, as containerd. */
const AT_ONCE = 3;

export interface LateWish extends Pick<Scene, 'program' | 'scratch' | 'repeat' | 'say' | 'signal'> {
  /** Bytes of random content of the image. */
  readonly imageBytes: number;
}

interface LateScene extends LateWish {
  readonly registry: Registry;
  readonly image: Tagged;
  readonly keyFile: string;
  readonly secure: boolean;
}

/** The content lives as long as this part, so that the others have the disk. */
export async function measureLate(wish: LateWish): Promise<LateReport> {
  const { scratch } = wish;
  const keyFile = scratch.join('late-key');
  await writeFile(keyFile, 'the key of a cluster that is measured');
  await using registry = await Registry.start();
  const image = await pushLate(wish, registry);
  const scene = { ...wish, registry, image, keyFile };
  const setups = [
    await measureSetup('TLS', { ...scene, secure: true }),
    await measureSetup('no TLS', { ...scene, secure: false }),
  ];
  return { imageBytes: image.bytes, layers: LAYERS, atOnce: AT_ONCE, setups };
}

async function pushLate({ scratch, imageBytes, signal }: LateWish, { url }: Registry): Promise<Tagged> {
  const folder = scratch.join('late');
  const layers = Array.from({ length: LAYERS }, () => Math.ceil(imageBytes / LAYERS));
  try {
    return await pushImage(url, folder, 'late', layers, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureSetup(setup: string, scene: LateScene): Promise<LateReport['setups'][number]> {
  const { repeat, say, signal } = scene;
  const turns: LateTurn[] = [];
  // The first turn is not counted, as for cold pulls. It checks the digests, which takes the client's CPU.
  for (let turn = 0; turn <= repeat; turn++) {
    signal.throwIfAborted();
    const { figures } = await takeTurn(scene, { checks: turn === 0, watchesLoop: false });
    say(`late node, ${setup}: ${Math.round(figures.rate)} MiB/s${turn === 0 ? ' (not counted)' : ''}`);
    if (turn > 0) turns.push(figures);
  }
  // In a turn of its own: the inspector and its timer take CPU.
  const { delays } = await takeTurn(scene, { checks: false, watchesLoop: true });
  if (delays === undefined) throw new Error('no node was asked for the delay of its event loop');
  return figuresOf(setup, turns, delays);
}

interface TurnWish {
  readonly checks: boolean;
  readonly watchesLoop: boolean;
}

interface Turn {
  readonly figures: LateTurn;
  readonly delays?: { readonly sender: Percentiles; readonly receiver: Percentiles };
}

async function takeTurn(scene: LateScene, { checks, watchesLoop }: TurnWish): Promise<Turn> {
  const { registry, image, scratch, signal } = scene;
  const env = watchesLoop ? { NODE_OPTIONS: INSPECT } : {};
  await using sender = await startMember(scene, '', env);
  await scratch.settle();
  const firstPull = await watch(sender, image.bytes);
  await pull(imageReference(registry.host, image), { node: sender, source: 'upstream', signal });
  const first = await firstPull();
  await using receiver = await startMember(scene, controlAddress(sender), env);
  await Promise.all([knows(sender, 2), knows(receiver, 2)]);
  await scratch.settle();
  using stack = new DisposableStack();
  const loops = watchesLoop
    ? [stack.use(await LoopDelay.start(sender.log)), stack.use(await LoopDelay.start(receiver.log))]
    : [];
  // Kept until the pull is over: otherwise the receiver would write into the memory that this has touched.
  const plain = scratch.join('plain-write');
  const plainCpu = plainWrite(plain);
  const both = [await watch(sender, image.bytes), await watch(receiver, image.bytes)] as const;
  const layers = await layersThrough(receiver, registry, image);
  const targets = layers.map(({ digest }) => {
    const url = receiver.urlOf(registry.host, blobTarget(digest));
    return checks ? { url, digest } : { url };
  });
  const read = await readBlobs(targets, AT_ONCE);
  const [sent, received] = [await both[0](), await both[1]()];
  const [senderDelay, receiverDelay] = await Promise.all(loops.map((loop) => loop.stop()));
  await rm(plain);
  const upstream = (await receiver.metrics()).sum('weir_upstream_bytes_total');
  const figures = {
    rate: read.bytes / MIB / read.seconds,
    readerBusy: read.cpuSeconds / read.seconds,
    upstreamShare: upstream / read.bytes,
    first: first.groups,
    plainWrite: plainCpu,
    sender: sent,
    receiver: received,
  };
  if (senderDelay === undefined || receiverDelay === undefined) return { figures };
  return { figures, delays: { sender: senderDelay, receiver: receiverDelay } };
}

/** A member of a cluster of its own, with the settings that users get. @param bootstrap empty: it is the first one */
function startMember(
  { program, registry, keyFile, secure }: LateScene,
  bootstrap: string,
  env: Readonly<Record<string, string>>,
): Promise<WeirNode> {
  return WeirNode.start({
    program,
    settings: {
      'log.level': 'info',
      'cluster.key-file': keyFile,
      'cluster.bootstrap': bootstrap,
      'cluster.mdns': 'off',
      'transfer.tls': secure ? 'on' : 'off',
    },
    registries: { [registry.host]: { 'plain-http': true } },
    env,
  });
}

/** Begins to watch a node; the answer ends it. @param bytes that it moves meanwhile */
async function watch({ pid }: WeirNode, bytes: number): Promise<() => Promise<SideTurn>> {
  await resetPeak(pid);
  const before = await threadTimes(pid);
  return async () => {
    const groups = groupSeconds(pid, before, await threadTimes(pid));
    return { groups: perGib(groups, bytes), resident: (await peakResidentBytes(pid)) / MIB };
  };
}

function perGib(groups: GroupSeconds, bytes: number): GroupSeconds {
  return Object.fromEntries(Object.entries(groups).map(([group, used]) => [group, used / (bytes / GIB)]));
}

/** The manifest as a client asks for it: by its tag, from the node. */
async function layersThrough(
  node: WeirNode,
  { host }: Registry,
  { tag }: Tagged,
): Promise<readonly Descriptor[]> {
  const url = node.urlOf(host, manifestTarget(tag));
  const response = await fetch(url, { headers: { accept: ACCEPT_MANIFESTS } });
  const body = await response.bytes();
  const manifest = response.status === 200 ? parseManifest(body) : undefined;
  if (manifest?.kind === 'image') return manifest.layers;
  throw new Error(`${url}: ${response.status}: no manifest of an image`);
}
