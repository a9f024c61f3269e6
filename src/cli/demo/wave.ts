/**
 * One wave: pullers that pull the image at once, each digest checked, with a picture. A puller pulls through a node's
 * mirror; without a node it pulls from the registry at the speed of a node's link.
 */
import { pullImage, type PulledImage, type PullEvent } from '../client/pull-image.ts';
import type { TerminalOutput } from '../client/terminal.ts';
import { MILLISECOND, SECOND, systemClock } from '../../util/clock.ts';
import { toWeirError, type WeirError } from '../../util/errors.ts';
import type { Digest } from '../../oci/digest.ts';
import type { ImageReference } from '../../oci/reference.ts';
import type { StatusReport, TransferReport } from '../../status/status-report.ts';
import type { AdminClient } from '../../status/admin-client.ts';
import type { ChildNode } from './child.ts';
import type { Puller, Scene } from './picture.ts';
import { createStage } from './stage.ts';
import { ImageMap, Share } from './share.ts';
import { Shaper } from './shaper.ts';
import type { RegistryCount } from './demo-upstream.ts';

/** Milliseconds between two status requests to a node, and more for each node: the requests must not slow the nodes. */
const LOOK_INTERVAL = 200 * MILLISECOND;
const LOOK_INTERVAL_PER_NODE = 20 * MILLISECOND;

/** Weir-Source of a blob whose chunks came from peers and from the registry. */
const SWARM = 'swarm';

/** The parts of a node that a wave needs. */
export interface WaveNode {
  readonly name: string;
  readonly child: Pick<ChildNode, 'mirror' | 'isRunning'>;
  readonly admin: Pick<AdminClient, 'status'>;
}

export interface WaveOptions {
  readonly title: string;
  readonly image: ImageReference;
  readonly dockerConfig: string | undefined;
  /** Nodes to pull through, or a number of clients without nodes. */
  readonly pullers: readonly WaveNode[] | number;
  /** Bytes per second of a client without a node; nodes have their own limit. */
  readonly link: number | undefined;
  /** The registry's own counts, if they can be seen; else the bytes count that pullers report from the registry. */
  readonly registry: (() => RegistryCount) | undefined;
  readonly output: TerminalOutput;
  readonly color: boolean;
  readonly signal: AbortSignal;
}

export interface WavePull {
  readonly name: string;
  readonly pulled?: PulledImage;
  readonly error?: WeirError;
}

export interface WaveOutcome {
  readonly pulls: readonly WavePull[];
  /** Until the last pull ended. */
  readonly seconds: number;
  /** Blobs that left the registry. */
  readonly registryBytes: number;
  readonly registryRequests: number | undefined;
  /** Bytes that nodes received from nodes. */
  readonly peerBytes: number;
}

export async function runWave(options: WaveOptions): Promise<WaveOutcome> {
  const wave = new Wave(options);
  return await wave.run();
}

interface Member {
  readonly name: string;
  readonly node: WaveNode | undefined;
  share: Share | undefined;
  seconds?: number;
  failure?: string;
  before: StatusReport | undefined;
  latest: StatusReport | undefined;
  /** Blobs that its client has received whole through the swarm. */
  readonly shared: Digest[];
}

function newMember(name: string, node: WaveNode | undefined): Member {
  return { name, node, share: undefined, before: undefined, latest: undefined, shared: [] };
}

class Wave {
  readonly #options: WaveOptions;
  readonly #members: readonly Member[];
  readonly #registryBefore: RegistryCount | undefined;
  #started = 0;
  #map = new ImageMap([]);

  constructor(options: WaveOptions) {
    this.#options = options;
    const { pullers } = options;
    this.#members =
      typeof pullers === 'number'
        ? Array.from({ length: pullers }, (_, index) => newMember(`client-${index + 1}`, undefined))
        : pullers.map((node) => newMember(node.name, node));
    this.#registryBefore = options.registry?.();
  }

  async run(): Promise<WaveOutcome> {
    const { output, color, signal } = this.#options;
    await this.#look((member, report) => (member.before = report));
    this.#started = systemClock.monotonic();
    const over = new AbortController();
    const pulls = await (async () => {
      using _ = await createStage(output, { color, scene: () => this.#scene() });
      const looking = this.#keepLooking(AbortSignal.any([signal, over.signal]));
      try {
        return await Promise.all(this.#members.map((member) => this.#pull(member)));
      } finally {
        over.abort();
        await looking;
        if (!signal.aborted) await this.#lookAgain();
      }
    })();
    return { pulls, ...this.#outcome() };
  }

  #outcome(): Omit<WaveOutcome, 'pulls'> {
    const requests = this.#options.registry?.().requests;
    return {
      seconds: Math.max(...this.#members.map(({ seconds = 0 }) => seconds)),
      registryBytes: this.#registryBytes,
      registryRequests: requests === undefined ? undefined : requests - (this.#registryBefore?.requests ?? 0),
      peerBytes: this.#grown((report) => report.totals.from_peers),
    };
  }

  async #pull(member: Member): Promise<WavePull> {
    const { image, dockerConfig, link, signal } = this.#options;
    const { name, node } = member;
    const shaper = new Shaper(node === undefined ? (link ?? Infinity) : Infinity);
    try {
      const pulled = await pullImage({
        image,
        mirror: node?.child.mirror,
        authFiles: dockerConfig === undefined ? [] : [dockerConfig],
        onProgress: (event) => this.#note(member, event),
        sink: (_, chunk) => shaper.take(chunk.length, { signal }),
        signal,
      });
      return { name, pulled };
    } catch (error) {
      signal.throwIfAborted();
      const failure = toWeirError(error);
      member.failure = failure.code;
      return { name, error: failure };
    } finally {
      if (!signal.aborted) member.seconds = this.#seconds;
    }
  }

  #note(member: Member, event: PullEvent): void {
    if (event.kind === 'planned') {
      if (this.#map.size === 0) this.#map = new ImageMap(event.blobs);
      member.share = new Share(this.#map);
    } else if (event.kind === 'bytes' && member.node === undefined) {
      member.share?.applyReceived(event.blob.digest, event.received);
    } else if (event.kind === 'finished') {
      const { digest, source } = event.result;
      // Bytes of the swarm have several sources: only the node's status can tell them apart.
      if (source === SWARM && member.node !== undefined) member.shared.push(digest);
      else member.share?.applyFinished(digest, source);
    }
  }

  get #seconds(): number {
    return (systemClock.monotonic() - this.#started) / SECOND;
  }

  /** Reads the status of all nodes at intervals until the signal is aborted. A slow node does not delay the others. */
  async #keepLooking(signal: AbortSignal): Promise<void> {
    const interval = LOOK_INTERVAL + LOOK_INTERVAL_PER_NODE * this.#members.length;
    const keepLookingAt = async (member: Member): Promise<void> => {
      while (!signal.aborted) {
        const report = await statusOf(member, signal);
        this.#see(member, report);
        await systemClock.sleep(interval, { signal }).catch(() => undefined); // aborted: the loop ends
      }
    };
    await Promise.all(this.#members.map(keepLookingAt));
  }

  async #look(see: (member: Member, report: StatusReport) => void): Promise<void> {
    const { signal } = this.#options;
    const lookAt = async (member: Member): Promise<void> => {
      const report = await statusOf(member, signal);
      if (report !== undefined) see(member, report);
    };
    await Promise.all(this.#members.map(lookAt));
  }

  /** After the last pull: if a status was not read in time, the sources that the client was told count. */
  async #lookAgain(): Promise<void> {
    await this.#look((member, report) => this.#see(member, report));
    for (const { share, shared } of this.#members) {
      for (const digest of shared) share?.applyFinished(digest, SWARM);
    }
  }

  #see(member: Member, report: StatusReport | undefined): void {
    if (report !== undefined) {
      member.latest = report;
      member.share?.applyTransfers(
        report.transfers.filter((transfer) => isOfThisWave(transfer, member.before)),
      );
    }
    member.share?.sample(systemClock.monotonic());
  }

  #scene(): Scene {
    const pullers = this.#members.map((member): Puller => {
      const { name, share = new Share(this.#map), seconds } = member;
      const ended = member.node?.child.isRunning === false ? 'node ended' : undefined;
      return { name, share, seconds, failure: member.failure ?? ended };
    });
    const isSwarm = typeof this.#options.pullers !== 'number';
    return {
      title: this.#options.title,
      isSwarm,
      pullers,
      registryBytes: this.#registryBytes,
      seconds: this.#seconds,
    };
  }

  get #registryBytes(): number {
    const { registry } = this.#options;
    if (registry !== undefined) return registry().blobBytes - (this.#registryBefore?.blobBytes ?? 0);
    const direct = this.#members.filter(({ node }) => node === undefined);
    const received = direct.reduce((sum, { share }) => sum + (share?.present ?? 0), 0);
    return received + this.#grown((report) => report.totals.from_upstream);
  }

  /** The growth of a figure in this wave, summed over all nodes. */
  #grown(read: (report: StatusReport) => number): number {
    return this.#members.reduce((sum, { before, latest }) => {
      return before === undefined || latest === undefined ? sum : sum + read(latest) - read(before);
    }, 0);
  }
}

/** Whether the transfer was not over before the wave began. */
function isOfThisWave({ registry, digest }: TransferReport, before: StatusReport | undefined): boolean {
  const earlier = before?.transfers.find((other) => other.registry === registry && other.digest === digest);
  return earlier === undefined || earlier.state === 'pulling';
}

/** Undefined if it is no node or does not answer: then the picture stays, and the pull itself gives the rest. */
async function statusOf({ node }: Member, signal: AbortSignal): Promise<StatusReport | undefined> {
  return await node?.admin.status({ signal }).catch(() => undefined);
}
