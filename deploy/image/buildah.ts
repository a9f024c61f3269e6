/** Layers, configuration and index of the image, made by buildah in a storage of its own. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './command.ts';
import type { Architecture } from './platforms.ts';
import { DATA_FOLDER, UID } from './rootfs.ts';

export interface ImageFacts {
  readonly version: string;
  /** The commit of the sources; empty if there is no git. */
  readonly revision: string;
  /** Seconds since 1970: the date of everything in the program's layer. */
  readonly created: number;
}

/** The base layer must not change with Weir: nodes that have it need not fetch it again. */
const BASE_CREATED = 0;

const PORTS = [4770, 4771, 4772, 4773];

export class Buildah implements AsyncDisposable {
  readonly #storage: string;

  private constructor(storage: string) {
    this.#storage = storage;
  }

  /** @param storage a folder that does not exist, and is gone at the end */
  static async create(storage: string): Promise<Buildah> {
    await mkdir(storage, { recursive: true });
    return new Buildah(storage);
  }

  /** @returns the name of the image, for {@link writeIndex} */
  async image(arch: Architecture, base: string, program: string, facts: ImageFacts): Promise<string> {
    const bottom = await this.#run('from', '--arch', arch.name, 'scratch');
    await this.#run('copy', '--quiet', '--chown', '0:0', bottom, base, '/');
    const baseImage = `weir-base-${arch.name}`;
    await this.#commit(bottom, baseImage, BASE_CREATED);

    const top = await this.#run('from', '--arch', arch.name, '--pull-never', baseImage);
    await this.#run('copy', '--quiet', '--chown', '0:0', top, program, '/');
    const data = join(this.#storage, 'data');
    await mkdir(data, { recursive: true, mode: 0o700 });
    await this.#run('copy', '--quiet', '--chown', `${UID}:${UID}`, '--chmod', '0700', top, data, DATA_FOLDER);
    await this.#run('config', '--arch', arch.name, ...configuration(facts), top);
    const image = `weir-${arch.name}`;
    await this.#commit(top, image, facts.created);
    return image;
  }

  /** Writes an OCI layout whose index names `images`. */
  async writeIndex(images: readonly string[], layout: string, tag: string): Promise<void> {
    const list = 'weir-index';
    await this.#run('manifest', 'create', list);
    for (const image of images)
      await this.#run('manifest', 'add', list, `containers-storage:localhost/${image}`);
    await rm(layout, { recursive: true, force: true });
    await this.#run('manifest', 'push', '--quiet', '--all', '--format', 'oci', list, `oci:${layout}:${tag}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run('rm', '--all').catch(() => undefined); // unmounts; the folder goes with or without it
    await rm(this.#storage, { recursive: true, force: true });
  }

  async #commit(container: string, image: string, created: number): Promise<void> {
    const how = ['--quiet', '--format', 'oci', '--timestamp', String(created), '--rm'];
    await this.#run('commit', ...how, container, image);
  }

  #run(command: string, ...args: readonly string[]): Promise<string> {
    const own = ['--root', join(this.#storage, 'root'), '--runroot', join(this.#storage, 'run')];
    // vfs: no mount is needed, so it works in containers, and there are but two layers.
    return runOk('buildah', [...own, '--storage-driver', 'vfs', command, ...args]);
  }
}

/** How a container of the image runs, as options of `buildah config`. */
export function configuration({ version, revision, created }: ImageFacts): readonly string[] {
  const labels = {
    title: 'weir',
    description: 'A peer-to-peer network for container images',
    licenses: 'Apache-2.0',
    version,
    created: new Date(created * 1000).toISOString(),
    ...(revision !== '' && { revision }),
  };
  const how = [
    ['--entrypoint', '["/usr/bin/weir"]', '--cmd', 'node', '--user', `${UID}:${UID}`, '--workingdir', '/'],
    ['--env', 'PATH=/usr/bin', '--volume', DATA_FOLDER, '--stop-signal', 'SIGTERM'],
    PORTS.flatMap((port) => ['--port', `${port}/tcp`]),
  ];
  for (const [name, value] of Object.entries(labels)) {
    const label = `org.opencontainers.image.${name}=${value}`;
    how.push(['--label', label, '--annotation', label]);
  }
  return how.flat();
}
