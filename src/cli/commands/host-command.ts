/** `weir host configure` and `weir host restore` */
import { isAbsolute, normalize } from 'node:path';
import { WeirError } from '../../util/errors.ts';
import { tryParseRegistryHost } from '../../oci/repository.ts';
import { configureHost, restoreHost, type HostSetupOptions, type Outcome } from '../runtimes/host-setup.ts';
import { ALL_REGISTRIES, RESOLVERS, type Resolver, type Runtime } from '../runtimes/target.ts';
import type { CliContext } from '../context.ts';

/** The names that users write; podman and CRI-O read the same files. */
const RUNTIME_NAMES: Readonly<Record<string, Runtime>> = {
  containerd: 'containerd',
  docker: 'docker',
  podman: 'containers',
  'cri-o': 'containers',
  crio: 'containers',
  k3s: 'k3s',
  rke2: 'rke2',
};

type Options = Readonly<Record<string, unknown>>;

export async function runHostConfigure(options: Options, context: CliContext): Promise<void> {
  const wish = {
    mirrorUrl: mirrorUrlOf(options),
    registries: listOf(options, 'registries', [ALL_REGISTRIES]).map((name) =>
      registryName('--registries', name),
    ),
    direct: listOf(options, 'direct', []).map((name) => {
      registryName('--direct', name.split('/')[0] ?? '');
      return name;
    }),
    resolve: resolverOf(options),
  };
  print(await configureHost(wish, setupOptions(options)), options, context);
}

export async function runHostRestore(options: Options, context: CliContext): Promise<void> {
  print(await restoreHost(setupOptions(options)), options, context);
}

function print({ lines, diff, failures }: Outcome, options: Options, context: CliContext): void {
  if (options['dryRun'] === true) context.stdout.write(diff);
  const output = options['dryRun'] === true ? context.stderr : context.stdout;
  for (const line of lines) output.write(`${line}\n`);
  if (failures.length > 0) throw new WeirError('runtime_config', failures.join('; '));
}

function setupOptions(options: Options): HostSetupOptions {
  const names = listOf(options, 'runtime', []);
  return {
    root: folderOf('--host-root', options['hostRoot']),
    stateFolder: folderOf('--state-dir', options['stateDir']),
    runtimes: names.length === 0 ? undefined : [...new Set(names.map(runtimeOf))],
    dryRun: options['dryRun'] === true,
  };
}

function runtimeOf(name: string): Runtime {
  const runtime = RUNTIME_NAMES[name];
  if (runtime !== undefined) return runtime;
  throw wrong('--runtime', name, 'is none of containerd, docker, podman, cri-o, k3s, rke2');
}

function resolverOf(options: Options): Resolver {
  const value = String(options['resolve']);
  const found = RESOLVERS.find((each) => each === value);
  if (found === undefined) throw wrong('--resolve', value, `is none of ${RESOLVERS.join(', ')}`);
  return found;
}

function mirrorUrlOf(options: Options): string {
  const text = String(options['mirrorUrl']);
  const url = URL.parse(text);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.search === '';
  if (!isPlain || url.username !== '') throw wrong('--mirror-url', text, 'is not http://HOST:PORT');
  return url.origin;
}

function registryName(flag: string, name: string): string {
  if (name === ALL_REGISTRIES && flag === '--registries') return name;
  if (tryParseRegistryHost(name) === undefined)
    throw wrong(flag, name, 'is no registry, such as ghcr.io or registry.example.com:5000');
  return name;
}

function folderOf(flag: string, value: unknown): string {
  const folder = String(value);
  if (!isAbsolute(folder)) throw wrong(flag, folder, 'is not an absolute path');
  return normalize(folder);
}

function listOf(options: Options, name: string, otherwise: readonly string[]): readonly string[] {
  const value = options[name];
  if (typeof value !== 'string') return otherwise;
  const list = value.split(',').map((part) => part.trim());
  return [...new Set(list.filter((part) => part !== ''))];
}

function wrong(flag: string, value: string, problem: string): WeirError {
  return new WeirError('config_invalid', `${flag}: "${value}" ${problem}`);
}
