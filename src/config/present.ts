/** The effective configuration for people and programs; passwords and tokens are always `***`. */
import type { RegistryConfig } from '../upstream/registry-config.ts';
import type { LoadedConfig } from './load.ts';
import { SETTING_KEYS, settingOf, type ConfigKey } from './settings.ts';

export const REDACTED = '***';

export interface PresentedSetting {
  readonly key: ConfigKey;
  /** As an operator would write it in YAML. */
  readonly value: string | readonly string[] | Readonly<Record<string, unknown>>;
  readonly origin: string;
}

export function presentConfig(loaded: LoadedConfig): readonly PresentedSetting[] {
  const settings = SETTING_KEYS.map((key): PresentedSetting => {
    const value = settingOf(key).format(loaded.config[key]);
    return { key, value, origin: loaded.origins[key] };
  });
  const registries = [...loaded.config.registries].map(([host, config]) => [host, presentRegistry(config)]);
  const value = Object.fromEntries(registries) as Record<string, unknown>;
  return [...settings, { key: 'registries', value, origin: loaded.origins.registries }];
}

function presentRegistry(config: RegistryConfig): Record<string, unknown> {
  const { credential } = config;
  const fields = {
    endpoint: config.endpoint?.href,
    mirrors: config.mirrors?.map((url: URL) => url.href),
    'plain-http': config.plainHttp,
    'plain-redirects': config.plainRedirects,
    'skip-verify': config.skipVerify,
    'ca-file': config.caFiles?.join(','),
    'cert-file': config.clientCertificate?.certFile,
    'key-file': config.clientCertificate?.keyFile,
    username: credential?.kind === 'basic' ? credential.username : undefined,
    password: credential?.kind === 'basic' ? REDACTED : undefined,
    token: credential?.kind === 'bearer' ? REDACTED : undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** One line per setting: key, value, origin. */
export function configAsTable(settings: readonly PresentedSetting[]): string {
  const rows = settings.flatMap(({ key, value, origin }): [string, string, string][] => {
    if (typeof value === 'string') return [[key, value === '' ? '""' : value, origin]];
    if (Array.isArray(value)) return [[key, value.join(','), origin]];
    const entries = Object.entries(value as Readonly<Record<string, Record<string, unknown>>>);
    if (entries.length === 0) return [[key, '{}', origin]];
    return entries.flatMap(([host, fields]) =>
      Object.entries(fields).map(([field, content]): [string, string, string] => [
        `${key}.${host}.${field}`,
        String(content),
        origin,
      ]),
    );
  });
  const keyWidth = Math.max(...rows.map(([key]) => key.length));
  const valueWidth = Math.min(40, Math.max(...rows.map(([, value]) => value.length)));
  return rows
    .map(([key, value, origin]) => `${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${origin}`)
    .join('\n');
}

/** `{"mirror.listen": {"value": […], "origin": "default"}, …}` */
export function configAsJson(settings: readonly PresentedSetting[]): string {
  const entries = settings.map(({ key, value, origin }) => [key, { value, origin }]);
  return JSON.stringify(Object.fromEntries(entries), undefined, 2);
}

/** A file that {@link loadConfig} can read, without secrets. The origin of each value is a comment. */
export async function configAsYaml(settings: readonly PresentedSetting[]): Promise<string> {
  const { Document, Scalar, YAMLMap, isMap, isScalar } = await import('yaml');
  const document = new Document({});
  const root = new YAMLMap();
  document.contents = root;
  const sectionOf = (name: string): InstanceType<typeof YAMLMap> => {
    const found = root.get(name);
    if (isMap(found)) return found;
    const made = new YAMLMap();
    root.set(name, made);
    return made;
  };
  for (const { key, value, origin } of settings) {
    const [section = '', name] = key.split('.');
    const plain = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
    const node = document.createNode(plain, { flow: Array.isArray(value) });
    if (name !== undefined) node.comment = ` ${origin}`;
    if (isScalar(node) && value === '') node.type = Scalar.QUOTE_DOUBLE;
    if (name === undefined) root.set(section, node);
    else sectionOf(section).set(name, node);
  }
  return document.toString({ lineWidth: 0 });
}
