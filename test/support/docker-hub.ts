/**
 * A Docker Hub of the test's own: docker-registry on port 443 under the name registry-1.docker.io, with a
 * certificate of an own CA, in a namespace where that name leads to it.
 */
import { CertificateAuthority } from './certificates.ts';
import { Namespace } from './namespace.ts';
import { Registry } from './registry.ts';
import { TempDir } from './temp.ts';

export const HUB_HOSTS = ['registry-1.docker.io', 'index.docker.io', 'docker.io'] as const;

export class DockerHub implements AsyncDisposable {
  readonly namespace: Namespace;
  readonly registry: Registry;
  /** Path of the PEM file of its CA. */
  readonly caFile: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(namespace: Namespace, registry: Registry, caFile: string, stack: AsyncDisposableStack) {
    this.namespace = namespace;
    this.registry = registry;
    this.caFile = caFile;
    this.#stack = stack;
  }

  /** Serves the registry folder `storage`. */
  static async start(storage: string): Promise<DockerHub> {
    await using stack = new AsyncDisposableStack();
    const dir = stack.use(await TempDir.create('hub'));
    const authority = await CertificateAuthority.create(dir);
    const namespace = stack.use(await Namespace.create(...HUB_HOSTS));
    const tls = await authority.issue(...HUB_HOSTS);
    const within = namespace.enter;
    const registry = stack.use(await Registry.start({ storage, tls, within, listen: '127.0.0.1:443' }));
    return new DockerHub(namespace, registry, authority.file, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
