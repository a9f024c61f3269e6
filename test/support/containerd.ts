/**
 * A private containerd: its own content, snapshots, socket and hosts folder, so that each test is a node of its own.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { digestHex, type Digest } from '../../src/oci/digest.ts';
import { HostFiles } from '../../src/host/host-files.ts';
import { planHosts } from '../../src/cli/runtimes/hosts-folders.ts';
import type { Wish } from '../../src/cli/runtimes/target.ts';
import { Cri } from './cri.ts';
import { Program, run, runOk, type Result, type RunOptions } from './program.ts';
import { TempDir } from './temp.ts';

/** CRI keeps its images in this namespace; `ctr` uses it too, so tests see one set of images. */
const NAMESPACE = 'k8s.io';
const PULL_TIMEOUT = 3 * MINUTE;

export interface HostsToml {
  /** The registry as images name it: `127.0.0.1:5000`, `docker.io`. */
  readonly registry: string;
  /** The upstream that containerd falls back to. */
  readonly server: string;
  /** URLs of mirrors, tried in this order. */
  readonly mirrors: readonly string[];
  /** Path of a CA that the upstream's certificate chains to. */
  readonly ca?: string;
  /** `dial_timeout` of the mirrors, as Go writes durations. */
  readonly dialTimeout?: string;
}

export interface ContainerdOptions {
  /** Argv that enters a namespace; then pulls go through CRI alone, because `ctr` stays outside. */
  readonly within?: readonly string[];
  /** The machine's root folder, whose `/etc/containerd/certs.d` it reads; default: a folder of its own. */
  readonly root?: string;
}

export class Containerd implements AsyncDisposable {
  readonly cri: Cri;
  readonly hostsFolder: string;
  readonly #dir: TempDir;
  readonly #program: Program;

  private constructor(dir: TempDir, hosts: string, program: Program) {
    this.#dir = dir;
    this.hostsFolder = hosts;
    this.#program = program;
    this.cri = new Cri(this.socket);
  }

  static async start(options: ContainerdOptions = {}): Promise<Containerd> {
    const dir = await TempDir.create('containerd');
    try {
      const hosts =
        options.root === undefined ? dir.join('certs.d') : join(options.root, 'etc/containerd/certs.d');
      await mkdir(hosts, { recursive: true });
      await writeFile(dir.join('config.toml'), configToml(dir, hosts));
      const args = ['--config', dir.join('config.toml'), '--log-level', 'info'];
      const program = await Program.start({ command: 'containerd', args, within: options.within });
      const containerd = new Containerd(dir, hosts, program);
      await program.line(/containerd successfully booted/);
      await containerd.cri.ready();
      return containerd;
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Its log. */
  get log(): string {
    return this.#program.lines.join('\n');
  }

  get socket(): string {
    return this.#dir.join('containerd.sock');
  }

  /** The folder that Weir may read: `io.containerd.content.v1.content`. */
  get contentFolder(): string {
    return this.#dir.join('root', 'io.containerd.content.v1.content');
  }

  /** Written anew before a pull: containerd reads it at every pull. */
  async writeHosts(hosts: HostsToml): Promise<void> {
    const folder = join(this.hostsFolder, hosts.registry);
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/hosts.toml`, hostsToml(hosts));
  }

  /** Does the work of `weir host configure`, with this containerd's own folder instead of the machine's. */
  async configure(
    wish: Pick<Wish, 'mirrorUrl' | 'registries'> & { readonly direct?: readonly string[] },
  ): Promise<void> {
    const whole = { direct: [], resolve: 'mirror' as const, ...wish };
    for (const { path, edit } of (await planHosts(new HostFiles('/'), [this.hostsFolder], whole)).targets) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, edit.add(undefined));
    }
  }

  /** Pulls go straight to the registry again. */
  async removeHosts(registry: string): Promise<void> {
    await rm(join(this.hostsFolder, registry), { recursive: true, force: true });
  }

  async ctr(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run('ctr', this.#ctrArgs(args), options);
  }

  async ctrOk(args: readonly string[], options: RunOptions = {}): Promise<string> {
    try {
      return await runOk('ctr', this.#ctrArgs(args), options);
    } catch (cause) {
      throw new Error(`${String(cause)}\n${this.#program.failure('its log').message}`, { cause });
    }
  }

  /** `ctr images pull`, which resolves hosts by the client's own `--hosts-dir`. */
  async ctrPull(image: string, ...flags: readonly string[]): Promise<Result> {
    const args = ['images', 'pull', '--hosts-dir', this.hostsFolder, ...flags, image];
    return this.ctr(args, { timeout: PULL_TIMEOUT });
  }

  /** The output of a container of `image`. */
  async runContainer(image: string, ...command: readonly string[]): Promise<string> {
    return this.ctrOk(['run', '--rm', '--net-host', image, containerName(), ...command]);
  }

  /** The bytes that it holds for `digest`, as `ctr content get` hands them out. */
  async content(digest: Digest): Promise<Result> {
    return this.ctr(['content', 'get', digest]);
  }

  /** Path of the file that holds `digest` once it is complete. */
  blobPath(digest: Digest): string {
    return `${this.contentFolder}/blobs/sha256/${digestHex(digest)}`;
  }

  /** Removes an image and its content, and waits for the garbage collector. */
  async removeImage(image: string): Promise<void> {
    await this.cri.remove(image);
    await this.ctr(['images', 'rm', '--sync', image]);
    await this.ctrOk(['content', 'prune', 'references']).catch(() => undefined); // not in every version
  }

  /** Kills it. */
  async kill(): Promise<void> {
    await this.#program.stop('SIGKILL');
  }

  failure(problem: string): Error {
    return this.#program.failure(problem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cri[Symbol.dispose]();
    await this.#program.stop();
    await this.#dir[Symbol.asyncDispose]();
  }

  #ctrArgs(args: readonly string[]): readonly string[] {
    return ['--address', this.socket, '--namespace', NAMESPACE, ...args];
  }
}

/** runc knows the containers of all containerds of the machine by their names. */
export function containerName(): string {
  return `weir-test-${process.pid}-${process.hrtime.bigint()}`;
}

function configToml(dir: TempDir, hosts: string): string {
  return `version = 2
root = "${dir.join('root')}"
state = "${dir.join('state')}"
[grpc]
  address = "${dir.join('containerd.sock')}"
[ttrpc]
  address = "${dir.join('containerd.sock.ttrpc')}"
# "ctr images import" of 1.6 has no lease while it unpacks: the collection at the start would take its content away.
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "1h"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${hosts}"
`;
}

function hostsToml(hosts: HostsToml): string {
  const lines = [`server = "${hosts.server}"`];
  if (hosts.ca !== undefined) lines.push(`ca = "${hosts.ca}"`);
  for (const mirror of hosts.mirrors) {
    lines.push(`[host."${mirror}"]`, '  capabilities = ["pull", "resolve"]');
    if (hosts.dialTimeout !== undefined) lines.push(`  dial_timeout = "${hosts.dialTimeout}"`);
  }
  return `${lines.join('\n')}\n`;
}
