/** A node that has the two blobs in its store, and nginx on the very files of that store. */
import { join } from 'node:path';
import { digestHex, type Digest } from '../../src/oci/digest.ts';
import type { WeirNode } from '../../test/support/weir.ts';
import { blobTarget } from './content.ts';
import { Nginx } from './nginx.ts';
import { readBlob } from './read-blob.ts';
import { startNode, type Scene } from './scene.ts';

export class WarmScene implements AsyncDisposable {
  readonly node: WeirNode;
  readonly nginx: Nginx;
  readonly large: Digest;
  readonly small: Digest;
  readonly #registry: string;
  readonly #owned: AsyncDisposableStack;

  private constructor(scene: Scene, node: WeirNode, nginx: Nginx, owned: AsyncDisposableStack) {
    this.node = node;
    this.nginx = nginx;
    this.large = scene.content.large;
    this.small = scene.content.small;
    this.#registry = scene.registry.host;
    this.#owned = owned;
  }

  /** @param nginxProgram path of nginx */
  static async start(scene: Scene, nginxProgram: string): Promise<WarmScene> {
    await using stack = new AsyncDisposableStack();
    const node = stack.use(await startNode(scene.program, scene.registry));
    const nginx = stack.use(
      await Nginx.start({
        program: nginxProgram,
        root: join(node.dataFolder, 'blobs'),
        folder: scene.scratch.join('nginx'),
      }),
    );
    const warm = new WarmScene(scene, node, nginx, stack.move());
    await warm.#fill(scene);
    return warm;
  }

  weirUrl(digest: Digest): string {
    return this.node.urlOf(this.#registry, blobTarget(digest));
  }

  registryUrl(digest: Digest): string {
    return `http://${this.#registry}/v2/${blobTarget(digest)}`;
  }

  nginxUrl(digest: Digest): string {
    return `${this.nginx.url}/sha256/${digestHex(digest)}`;
  }

  /** Brings both blobs into the store, and checks that both servers send the right bytes. */
  async #fill({ scratch, signal }: Scene): Promise<void> {
    try {
      for (const digest of [this.small, this.large]) {
        for (const url of [this.weirUrl(digest), this.weirUrl(digest), this.nginxUrl(digest)]) {
          signal.throwIfAborted();
          await readBlob(url, 1, digest);
        }
      }
      await scratch.settle();
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}
