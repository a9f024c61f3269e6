/** Pulls by the nodes of a scene, begun together or one after the other, and their results. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { assertIntact } from './assertions.ts';
import type { CriCredentials, PullOutcome } from './cri.ts';
import type { TestImage } from './images.ts';
import { push } from './push.ts';
import type { Registry } from './registry.ts';
import { inMiB, lowerBound, sizeOf, type SwarmNode, type SwarmScene } from './swarm-scene.ts';

/** Milliseconds between two checks, each of which starts a program for each node. */
const LOOK = 200;

/** An image in the storage folder of the registries. */
export interface Wares {
  readonly image: TestImage;
  /** `repository:tag`. */
  readonly path: string;
}

/** A registry for pushes: on loopback, open, and quick. The registries of the scenes serve its folder. */
export async function stock(pantry: Registry, image: TestImage, repository: string): Promise<Wares> {
  await push(pantry.url, repository, 'v1', image);
  return { image, path: `${repository}:v1` };
}

/** The registry sent more than it should have; all pulls succeeded. */
class TooManyBytes extends Error {}

/** Tries of a scene; one of them must keep within its bound of registry bytes. */
const GOES = 3;

/**
 * Five nodes, five runtimes and other machines share two cores, so a node may be held up for seconds. It is then right
 * to go to the registry instead of stalling. So the bound must hold in one of three tries; a failed pull ends the test
 * at once.
 */
export async function inOneOfThreeGoes(go: () => Promise<void>): Promise<void> {
  for (let count = 1; ; count++) {
    try {
      return await go();
    } catch (error) {
      if (!(error instanceof TooManyBytes) || count === GOES) throw error;
      console.log(`        above the bound: once more (${count} of ${GOES} goes are over)`);
    }
  }
}

export interface PullsOptions {
  /** Default: all. */
  readonly nodes?: readonly SwarmNode[];
  /** Milliseconds between the starts of two pulls. */
  readonly gap?: number;
  readonly auth?: (node: SwarmNode) => CriCredentials;
}

/** Pulls that run. */
export class Pulls {
  readonly #scene: SwarmScene;
  readonly #wares: Wares;
  readonly #startedAt: number = performance.now();
  readonly #outcomes: ReadonlyMap<SwarmNode, Promise<PullOutcome>>;
  readonly #leftBefore: Promise<number>;
  #pending: number;

  private constructor(scene: SwarmScene, wares: Wares, options: PullsOptions) {
    const { nodes = scene.nodes, gap = 0, auth } = options;
    this.#scene = scene;
    this.#wares = wares;
    this.#leftBefore = scene.leftRegistry();
    this.#pending = nodes.length;
    const pull = async (node: SwarmNode, index: number): Promise<PullOutcome> => {
      await delay(index * gap);
      return scene.pull(node, wares.path, auth?.(node)).finally(() => this.#pending--);
    };
    this.#outcomes = new Map(nodes.map((node, index) => [node, pull(node, index)]));
  }

  /** Forgets what the registry has sent before. */
  static async start(scene: SwarmScene, wares: Wares, options: PullsOptions = {}): Promise<Pulls> {
    await scene.registry.accessLog.settled();
    scene.registry.accessLog.clear();
    return new Pulls(scene, wares, options);
  }

  /** Number of pulls that have not ended. */
  get pending(): number {
    return this.#pending;
  }

  /** Waits until the bytes of this many images have left the registry, with some pull still running. */
  async registrySent(images: number): Promise<void> {
    await this.#scene.leaves(images * sizeOf(this.#wares.image), await this.#leftBefore);
    assert.ok(this.#pending > 0, 'the pulls ended too early for what was to come');
  }

  /** Waits until the nodes together have every chunk, with some pull still running. */
  async haveAllTogether(): Promise<void> {
    while (!(await this.#scene.hasAll(this.#wares.image))) await delay(LOOK);
    assert.ok(this.#pending > 0, 'the pulls ended too early for what was to come');
  }

  /**
   * Waits until all have ended: each but those of `except` must have brought the image, whole.
   * @param atMost bytes that the registry may have sent, in images
   */
  async succeed(atMost: number, options: { readonly except?: readonly SwarmNode[] } = {}): Promise<void> {
    const { except = [] } = options;
    const { image } = this.#wares;
    const outcomes = new Map<SwarmNode, PullOutcome>();
    for (const [node, outcome] of this.#outcomes) outcomes.set(node, await outcome);
    const makespan = performance.now() - this.#startedAt;
    const ratio = (await this.#scene.blobBytes()) / sizeOf(image);
    const left = (await this.#scene.leftRegistry()) - (await this.#leftBefore);
    const told = `${this.#tell(makespan, ratio, left)}\n${this.#scene.story()}`;
    console.log(told.replaceAll(/^/gm, '        '));
    for (const [node, { error }] of outcomes) {
      if (except.includes(node)) continue;
      assert.equal(error, undefined, `${node.name}: ${error}\n${told}`);
      await assertIntact(node.containerd, image);
    }
    if (ratio > atMost)
      throw new TooManyBytes(`the registry sent ${ratio.toFixed(3)} images, not ${atMost}:\n${told}`);
  }

  #tell(makespan: number, ratio: number, left: number): string {
    const { image } = this.#wares;
    const bound = lowerBound(image);
    return [
      `image of ${inMiB(sizeOf(image))}: registry bytes ${ratio.toFixed(3)} images (${inMiB(left)} on its wire)`,
      `makespan ${(makespan / 1000).toFixed(1)} s, ${(makespan / bound).toFixed(2)} × max(F/U, F/b)`,
    ].join('; ');
  }
}
