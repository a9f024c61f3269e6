/**
 * A node of Kubernetes, as far as `podman kube play` can be one: a host with containerd, whose files for one registry are
 * written by hand, and the chart's pods on it. There is no API server: kubelet.ts stands for it and for the kubelet.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseManifests, template, type Manifest } from '../../deploy/helm.ts';
import { MINUTE } from '../../src/util/clock.ts';
import { BUILDING, builtImage, writeArchive } from './built-image.ts';
import { Containerd } from './containerd.ts';
import { snapshot } from './folder-snapshot.ts';
import { asOnNode } from './kubelet.ts';
import { Podman5, PODMAN5 } from './podman5.ts';
import { freePort } from './ports.ts';
import { Registry } from './registry.ts';
import { TempDir } from './temp.ts';

/** Programs that it needs, for `requires`. */
export const POD_NEEDS: readonly string[] = [
  ...BUILDING,
  'docker-registry',
  'containerd',
  'ctr',
  'nsenter',
  PODMAN5,
];

const IMAGE = 'localhost/weir:test';

interface Ports {
  readonly mirror: number;
  readonly admin: number;
  readonly control: number;
  readonly data: number;
}

export class PodScene implements AsyncDisposable {
  readonly host: TempDir;
  readonly registry: Registry;
  readonly containerd: Containerd;
  readonly podman: Podman5;
  readonly ports: Ports;
  /** The files of the host before Weir came. */
  readonly before: Readonly<Record<string, string>>;
  readonly #pods: TempDir;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<PodScene, 'host' | 'registry' | 'containerd' | 'podman' | 'ports' | 'before'>,
    pods: TempDir,
    stack: AsyncDisposableStack,
  ) {
    this.host = parts.host;
    this.registry = parts.registry;
    this.containerd = parts.containerd;
    this.podman = parts.podman;
    this.ports = parts.ports;
    this.before = parts.before;
    this.#pods = pods;
    this.#stack = stack;
  }

  static async start(): Promise<PodScene> {
    await using stack = new AsyncDisposableStack();
    const host = stack.use(await TempDir.create('host-root'));
    const registry = stack.use(await Registry.start());
    await makeHost(host, registry);
    const before = await snapshot(host.path);
    const containerd = stack.use(await Containerd.start({ root: host.path }));
    const podman = stack.use(await Podman5.create());
    await using files = await TempDir.create('archive');
    await writeArchive(await builtImage(), 'docker-archive', files.join('weir.tar'), IMAGE);
    await podman.load(files.join('weir.tar'));
    const pods = stack.use(await TempDir.create('pods'));
    const ports = {
      mirror: await freePort(),
      admin: await freePort(),
      control: await freePort(),
      data: await freePort(),
    };
    return new PodScene({ host, registry, before, containerd, podman, ports }, pods, stack.move());
  }

  /** The chart's manifests for this host. */
  async render(values: Readonly<Record<string, unknown>> = {}): Promise<readonly Manifest[]> {
    const all = {
      image: { repository: 'localhost/weir', tag: 'test', pullPolicy: 'Never' },
      ports: this.ports,
      hostSetup: { registries: ['_default', this.registry.host] },
      runtimeContent: { hostPath: this.containerd.contentFolder },
      zone: { from: 'podLabel' },
      ...values,
    };
    await writeFile(this.#pods.join('values.json'), JSON.stringify(all)); // is YAML
    const facts = {
      hostRoot: this.host.path,
      keep: [this.containerd.contentFolder],
      fields: {
        'spec.nodeName': 'node-1',
        'status.podIPs': '127.0.0.1',
        "metadata.labels['topology.kubernetes.io/zone']": 'zone-1',
      },
    };
    const manifests = parseManifests(await template('--values', this.#pods.join('values.json')));
    return manifests.map((manifest) => asOnNode(manifest, facts));
  }

  /** Plays the DaemonSet of this name with its pods' mounts; resolves with a function that takes it down. */
  async play(name: string, manifests: readonly Manifest[]): Promise<() => Promise<unknown>> {
    const parts = manifests.filter(
      ({ kind, metadata }) =>
        ['ConfigMap', 'Secret'].includes(kind) || (kind === 'DaemonSet' && metadata.name === name),
    );
    const file = this.#pods.join(`${name}.yaml`);
    await writeFile(file, parts.map((each) => `---\n${JSON.stringify(each)}\n`).join(''));
    try {
      await this.podman.runOk('kube', 'play', file);
    } catch (cause) {
      throw new Error(`${String(cause)}\n${await this.logs(`${name}-pod`)}`, { cause });
    }
    return () => this.podman.runOk('kube', 'down', file);
  }

  async logs(pod: string): Promise<string> {
    const { stdout, stderr } = await this.podman.run('pod', 'logs', '--names', pod);
    return stdout + stderr;
  }

  admin(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports.admin}${path}`);
  }

  async ready(): Promise<void> {
    for (const deadline = Date.now() + MINUTE; ;) {
      const answer = await this.admin('/readyz').catch(() => undefined);
      if (answer?.status === 200) return;
      if (Date.now() > deadline) throw new Error(`the node is not ready:\n${await this.logs('weir-pod')}`);
      await delay(100);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** A host with containerd, whose files for one registry are written by hand. */
async function makeHost(host: TempDir, registry: Registry): Promise<void> {
  const folder = host.join('etc/containerd/certs.d', registry.host);
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/hosts.toml`, `# kept by hand\nserver = "${registry.url}"\n`);
  const config =
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n';
  await writeFile(host.join('etc/containerd/config.toml'), config, { mode: 0o640 });
  await cp('/etc/os-release', host.join('etc/os-release'));
  await mkdir(host.join('var/lib'), { recursive: true });
}
