/** Two honest members, an evil one, and the registry of their blobs. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, SECOND } from '../../src/util/clock.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';
import type { SwarmKey } from '../../src/protocol/messages.ts';
import { seededBytes } from './bytes.ts';
import { EvilPeer, type EvilPeerOptions } from './evil-peer.ts';
import { MemberNode, type PullOf } from './member-node.ts';
import { TestRegistry } from './mirror-fixture.ts';
import { ShiftedClock } from './shifted-clock.ts';
import { TempDir } from './temp.ts';

const KNOWN_WITHIN = 20 * SECOND;
const REPOSITORY = 'a/b';
const WARM_UP = 600 * KIB;

export type EvilSceneOptions = Omit<EvilPeerOptions, 'keyFile' | 'bootstrap'>;

export interface Content {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly swarm: SwarmKey;
  /** The request for the blob to an honest node. */
  readonly source: PullOf;
}

export class EvilScene implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly honest: readonly [MemberNode, MemberNode];
  readonly evil: EvilPeer;
  /** Of the honest ones. */
  readonly clock: ShiftedClock;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    registry: TestRegistry,
    honest: readonly [MemberNode, MemberNode],
    evil: EvilPeer,
    clock: ShiftedClock,
    stack: AsyncDisposableStack,
  ) {
    this.registry = registry;
    this.honest = honest;
    this.evil = evil;
    this.clock = clock;
    this.#stack = stack;
  }

  static async start(options: EvilSceneOptions = {}): Promise<EvilScene> {
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(await TestRegistry.start());
    const temp = stack.use(await TempDir.create('evil'));
    const keyFile = temp.join('key');
    await writeFile(keyFile, 'a key that all peers have, even the evil ones');
    const clock = new ShiftedClock();
    const one = stack.use(await MemberNode.start({ keyFile, clock }));
    const other = stack.use(await MemberNode.start({ keyFile, clock, bootstrap: one.address }));
    const evil = stack.use(await EvilPeer.start({ ...options, keyFile, bootstrap: one.address }));
    await acquainted([one.table, other.table, evil.table]);
    const scene = new EvilScene(registry, [one, other], evil, clock, stack.move());
    await scene.#warmUp();
    return scene;
  }

  /** Pulls once: loading, compiling and dialling must not look like a slow honest node. */
  async #warmUp(): Promise<void> {
    const { source } = this.content(WARM_UP);
    for (const node of this.honest) await node.pull(source);
    this.evil.requests.length = 0;
    this.evil.reports.length = 0;
    for (const { accused } of this.honest) accused.clear();
  }

  /** A blob of the registry. */
  content(size: number, repository = REPOSITORY): Content {
    const bytes = seededBytes(size, `${this.registry.host} ${size}`);
    const digest = this.registry.addBlob(repository, bytes);
    const { host } = this.registry;
    const source = { registry: host, repository, digest };
    return { bytes, digest, source, swarm: { registry: parseRegistryHost(host), digest } };
  }

  /** Both honest nodes pull a new blob that the evil one claims to have; both get the right bytes. */
  async pullAll(size: number): Promise<Content> {
    const content = this.content(size);
    this.evil.claim(content.swarm, content.bytes);
    await Promise.all(
      this.honest.map(async (node) => {
        const got = await node.pull(content.source);
        assert.ok(got.equals(content.bytes), 'other bytes than the registry has');
      }),
    );
    return content;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Waits until each of these members knows all. */
async function acquainted(tables: readonly MemberNode['table'][]): Promise<void> {
  const end = performance.now() + KNOWN_WITHIN;
  while (tables.some((table) => table.live().length < tables.length)) {
    if (performance.now() > end) throw new Error('the members do not get to know each other');
    await delay(20);
  }
}
