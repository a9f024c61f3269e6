/**
 * All settings, once: the typed {@link Config}, the flags of `weir node`, the names of environment variables,
 * the reading of YAML, `--help` and the table in docs/configuration.md are made from this record.
 *
 * A setting `a.b-c` is the flag `--a-b-c`, the variable `WEIR_A_B_C`, and `a: {b-c: …}` in YAML.
 */
import type { RegistryHost } from '../oci/repository.ts';
import type { RegistryConfig } from '../upstream/registry-config.ts';
import { KIB, MIB } from '../util/clock.ts';
import {
  autoNoneOrPaths,
  autoOrSize,
  choice,
  duration,
  integer,
  label,
  listenAddresses,
  noneOrRate,
  optionalFile,
  path,
  registryHost,
  texts,
  type Kind,
} from './kinds.ts';
import { readHostName, readAnnounced, readBootstrap, readPeer } from './cluster-addresses.ts';

export interface Setting<T> extends Kind<T> {
  /** As one would write it; read by the same schema as everything else. */
  readonly default: string;
  /** A sentence without its full stop. */
  readonly description: string;
  /** The flag where it is not the key: what is often typed is short. */
  readonly flag?: string;
}

function setting<T>(kind: Kind<T>, value: string, description: string, flag?: string): Setting<T> {
  return { ...kind, default: value, description, ...(flag !== undefined && { flag }) };
}

const HOST_NAMES: Kind<readonly string[]> = texts({
  allowed: 'names or IP addresses without a port, such as weir.example or 10.0.0.7',
  placeholder: 'NAME,…',
  read: readHostName,
});

/** Below it one ordinary layer would evict all others. */
const MIN_QUOTA = MIB;

/** Below it one chunk takes longer than a pull has patience for. */
const MIN_RATE = 256 * KIB;

export const SETTINGS = {
  'data.dir': setting(path('DIR'), '/var/lib/weir', 'Folder of the store; one node owns it at a time'),

  'mirror.listen': setting(
    listenAddresses(),
    '127.0.0.1:4770,[::1]:4770',
    'Addresses at which runtimes reach the mirror',
  ),
  'mirror.hosts': setting(
    HOST_NAMES,
    '',
    'Further names by which runtimes reach it; a Host that is none of these, no address listened on and not localhost is answered 403',
  ),
  'mirror.default-registry': setting(
    registryHost(),
    'docker.io',
    'Registry of requests that name none: no ?ns= and no host as first path element',
  ),
  'mirror.max-requests': setting(
    integer({ min: 1, max: 65_536 }),
    '512',
    'Requests served at one time; more are answered 503, so that the runtime goes upstream',
  ),
  'mirror.first-byte-timeout': setting(
    duration(),
    '3s',
    'Longest wait before the first byte; then 404, so that the runtime goes upstream. A blob that others pull too may take longer',
  ),
  'mirror.patient-timeout': setting(
    duration(),
    '30s',
    'The same for podman, skopeo and CRI-O, which cannot go upstream for a single blob',
  ),
  'mirror.stall-timeout': setting(
    duration(),
    '10s',
    'Longest time without progress in mid-blob before the answer is cut and handed over to upstream',
  ),
  'mirror.client-timeout': setting(
    duration(),
    '5m',
    'Longest time that a reader may take no byte before it is disconnected',
  ),
  'mirror.drain-timeout': setting(
    duration({ min: 0 }),
    '25s',
    'Time that running requests have to end after SIGTERM; keep it below the grace period of the pod',
  ),
  'mirror.hang-timeout': setting(
    duration({ min: 0 }),
    '5s',
    'Time without a sign of life after which the node is killed, so that runtimes pull directly; 0s: never',
  ),

  'admin.listen': setting(
    listenAddresses(),
    '127.0.0.1:4771',
    'Addresses of /healthz, /readyz and /metrics; on loopback also of what `weir status` and `weir peers` show',
  ),
  'admin.hosts': setting(
    HOST_NAMES,
    '',
    'Further names by which it is reached, as in mirror.hosts; for scrapers and probes that do not use its addresses',
  ),

  'node.name': setting(
    label({ max: 253 }),
    '',
    "Name of this node in `weir status` and logs of others; empty: the host's name",
  ),
  'node.zone': setting(
    label({ max: 63 }),
    '',
    'Topology zone of this node; peers of the same zone are preferred',
    '--zone',
  ),
  'node.zone-file': setting(
    optionalFile(),
    '',
    'File with the zone, where node.zone is empty; without it, or where it is empty, the node is in no zone',
  ),

  'cluster.mode': setting(choice(['on', 'off']), 'on', 'off: no peers, a mirror and a cache only'),
  'cluster.key-file': setting(
    optionalFile(),
    '',
    'File with the secret that all members share; without one, peers are looked for on this machine only',
  ),
  'cluster.insecure-open': setting(
    choice(['yes', 'no']),
    'no',
    'yes: speak to peers of other machines without a key: whoever reaches the ports can read what is cached',
    '--insecure-open-cluster',
  ),
  'cluster.listen': setting(
    listenAddresses(),
    '0.0.0.0:4772,[::]:4772',
    'Addresses at which peers reach this node for control; on loopback instead while there is no key',
  ),
  'cluster.announce': setting(
    texts({
      allowed: 'IP addresses, with a port where it differs, such as 10.0.0.7 or [fd00::7]:4772',
      placeholder: 'ADDRESS,…',
      read: readAnnounced,
    }),
    '',
    'Addresses that peers are told, such as the IP of the pod; empty: those of the network interfaces',
  ),
  'cluster.bootstrap': setting(
    texts({
      allowed: 'host:port (of a DNS name all addresses), or multiaddrs such as /ip4/10.0.0.7/tcp/4772',
      placeholder: 'ADDRESS,…',
      read: readBootstrap,
    }),
    '',
    'Where the first peers are found',
  ),
  'cluster.mdns': setting(
    choice(['auto', 'on', 'off']),
    'auto',
    'Look for peers on the local network by multicast DNS; auto: with a key, where cluster.bootstrap names nobody',
  ),
  'cluster.banned': setting(
    texts({ allowed: 'peer IDs (12D3KooW…)', placeholder: 'PEER,…', read: readPeer }),
    '',
    'Members that are refused although they have the key',
  ),

  'transfer.listen': setting(
    listenAddresses(),
    '0.0.0.0:4773,[::]:4773',
    'Addresses at which peers fetch chunks; on loopback instead while there is no key',
  ),
  'transfer.tls': setting(
    choice(['on', 'off']),
    'on',
    'off: chunks travel in the clear and members are known by their address; only where the network encrypts already',
  ),
  'transfer.max-upload': setting(
    noneOrRate({ min: MIN_RATE }),
    'none',
    'Most bytes per second that are sent to peers',
    '--max-upload',
  ),
  'transfer.max-download': setting(
    noneOrRate({ min: MIN_RATE }),
    'none',
    'Most bytes per second that are fetched from peers',
    '--max-download',
  ),

  'access.mode': setting(
    choice(['verify', 'open']),
    'verify',
    'verify: what is cached is given only to callers whom upstream lets read the repository; open: to all',
  ),
  'access.ttl': setting(
    duration({ min: 0 }),
    '10m',
    'How long a grant of upstream is remembered before it is asked again',
  ),
  'access.offline-ttl': setting(
    duration({ min: 0 }),
    '24h',
    'How long a grant of upstream holds while upstream cannot be reached',
  ),

  'tags.share': setting(
    choice(['on', 'off']),
    'on',
    'on: two members ask upstream for a tag and tell the others; off: each node asks for itself',
  ),
  'tags.ttl': setting(
    duration({ min: 0 }),
    '5s',
    'How long the answer for a tag is used again before upstream is asked; 0s asks every time',
  ),

  'store.quota': setting(
    autoOrSize({ min: MIN_QUOTA }),
    'auto',
    'Most bytes the store keeps, the least recently used go first; auto: a tenth of the disk, at most 20GiB',
  ),
  'store.runtime-content': setting(
    autoNoneOrPaths(),
    'auto',
    "Content folders of the node's containerd, served read-only instead of a copy; auto looks where containerd keeps it",
  ),
  'store.partial-max-age': setting(
    duration(),
    '24h',
    'How long an unfinished blob that nobody asks for is kept',
  ),

  'pull.linger': setting(
    duration({ min: 0 }),
    '10s',
    'How long a download goes on after its last reader has left',
  ),
  'pull.max-concurrent': setting(integer({ min: 1, max: 4096 }), '64', 'Downloads at one time'),

  'upstream.connect-timeout': setting(duration(), '3s', 'Longest time to connect to a registry'),
  'upstream.header-timeout': setting(duration(), '5s', "Longest wait for a registry's answer to begin"),
  'upstream.stall-timeout': setting(
    duration(),
    '5s',
    'Longest time without a byte from a registry before the request is made again',
  ),
  'upstream.retries': setting(
    integer({ min: 0, max: 100 }),
    '5',
    'Attempts after the first that bring no byte before a download fails; one that has begun gets at least 4s',
  ),
  'upstream.max-connections': setting(
    integer({ min: 1, max: 1024 }),
    '32',
    'Connections to one registry at one time',
  ),
  'upstream.allow-private': setting(
    choice(['yes', 'no']),
    'yes',
    'no: redirects, token servers and members lead to private addresses only where `registries` names the place',
  ),
  'upstream.ca-file': setting(
    optionalFile(),
    '',
    'PEM file of certificate authorities to trust beside the usual ones',
  ),
  'upstream.docker-config': setting(
    optionalFile(),
    '',
    "Docker's config.json with credentials for registries, used where the runtime sends none",
  ),

  'log.level': setting(
    choice(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    'info',
    'Least severe level that is logged',
  ),
  'log.format': setting(
    choice(['auto', 'json', 'pretty']),
    'auto',
    'auto: for people in a terminal, JSON lines otherwise',
  ),
} as const;

export type SettingKey = keyof typeof SETTINGS;

type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** The effective configuration: durations in milliseconds, sizes in bytes. */
export type Config = {
  readonly [Key in SettingKey]: ValueOf<(typeof SETTINGS)[Key]>;
} & {
  /** Only in YAML. */
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
};

export type ConfigKey = keyof Config;

export const SETTING_KEYS: readonly SettingKey[] = Object.keys(SETTINGS) as SettingKey[];

/** What each section is about, in the order of `--help` and the docs. */
export const SECTIONS: Readonly<Record<string, string>> = {
  data: 'Data',
  mirror: 'Mirror',
  admin: 'Admin',
  node: 'Node',
  cluster: 'Cluster',
  transfer: 'Transfer',
  access: 'Access',
  tags: 'Tags',
  store: 'Store',
  pull: 'Pull',
  upstream: 'Upstream',
  log: 'Log',
};

/** The section of `a.b-c`: `a`. */
export function sectionOf(key: SettingKey): string {
  return key.slice(0, key.indexOf('.'));
}

export const ENV_PREFIX = 'WEIR_';

/** The variable that names the YAML file, as `--config` does. */
export const CONFIG_FILE_ENV = 'WEIR_CONFIG';

/** Read where neither `--config` nor WEIR_CONFIG names a file, if it is there. */
export const DEFAULT_CONFIG_FILE = '/etc/weir/config.yaml';

/** The setting, its value's type forgotten: for code that treats all settings alike. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return SETTINGS[key] as Setting<unknown>;
}

/** `--a-b-c` for `a.b-c`, where the setting has no shorter one. */
export function flagName(key: SettingKey): string {
  return settingOf(key).flag ?? `--${key.replaceAll('.', '-')}`;
}

/** `WEIR_A_B_C` for `a.b-c`. */
export function envName(key: SettingKey): string {
  return ENV_PREFIX + key.replaceAll(/[.-]/g, '_').toUpperCase();
}
