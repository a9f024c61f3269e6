/**
 * The section `registries:` of the YAML file: the addresses and the credential of each registry.
 * No message contains a password or token.
 */
import * as v from 'valibot';
import { KIB } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import { tryParseRegistryHost, type RegistryHost } from '../oci/repository.ts';
import type { RegistryConfig } from '../upstream/registry-config.ts';
import { didYouMean } from './spelling.ts';
import type { ReadFile } from './read-file.ts';
import { isMapping } from './yaml-file.ts';

/** A token of a cloud's registry has some KiB. A disk image that was mounted by mistake is refused. */
const MAX_PASSWORD_BYTES = 64 * KIB;

const NO_TEXT = 'is no text (put it in quotes)';

/** http(s) without credentials, query or fragment: a path is added to it, and the log may show it. */
function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new Error('is no URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error('is no http or https URL');
  if (url.username !== '' || url.password !== '') {
    throw new Error('holds a credential; use username and password');
  }
  if (url.search !== '' || url.hash !== '') throw new Error('has a query or fragment');
  return url;
}

const url = v.pipe(
  v.string('is no URL'),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    try {
      return readUrl(dataset.value);
    } catch (error) {
      addIssue({ message: errorMessage(error) });
      return NEVER;
    }
  }),
);
const text = v.pipe(v.string(NO_TEXT), v.nonEmpty('is empty'));
const bool = v.boolean('is neither true nor false');

const FIELDS = {
  endpoint: v.optional(url),
  mirrors: v.optional(v.array(url, 'is no list of URLs')),
  'plain-http': v.optional(bool),
  'plain-redirects': v.optional(bool),
  'skip-verify': v.optional(bool),
  'ca-file': v.optional(text),
  'cert-file': v.optional(text),
  'key-file': v.optional(text),
  username: v.optional(text),
  password: v.optional(text),
  'password-file': v.optional(text),
  token: v.optional(text),
};

/** The fields of a registry, for docs/configuration.md. */
export const REGISTRY_FIELDS: Readonly<Record<keyof typeof FIELDS, string>> = {
  endpoint: 'URL of the registry, if it is not the one that the name says',
  mirrors: 'URLs to ask before the registry itself, in this order',
  'plain-http': '`true`: HTTP without TLS',
  'plain-redirects':
    '`true`: redirects from TLS to storage without it are followed, and token servers without TLS are asked, to which credentials then go in clear text',
  'skip-verify':
    '`true`: any TLS certificate is accepted. For tests only: anybody on the way can read the credential',
  'ca-file': 'PEM file of certificate authorities to trust for this registry',
  'cert-file':
    'PEM file of the client certificate (mTLS), with `key-file`; used for callers of this node alone',
  'key-file': 'PEM file of its private key',
  username: 'Name for HTTP Basic authentication or for the token server',
  password: 'Its password',
  'password-file': 'File that holds the password (its last newline is not part of it)',
  token: 'Bearer token instead of a name and password',
};

const SECRET_FIELDS: ReadonlySet<string> = new Set(['password', 'token']);

const entrySchema = v.object(FIELDS);
type Entry = v.InferOutput<typeof entrySchema>;

export interface ReadRegistriesOptions {
  readonly originOf: (path: readonly string[]) => string;
  readonly readFile: ReadFile;
}

export interface ReadRegistries {
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
  /** All problems, one line each. */
  readonly problems: readonly string[];
  /** Whether the YAML file itself contains a password or token. */
  readonly hasSecrets: boolean;
  /** Files with passwords or private keys. */
  readonly secretFiles: readonly string[];
}

export async function readRegistries(
  value: unknown,
  options: ReadRegistriesOptions,
): Promise<ReadRegistries> {
  const registries = new Map<RegistryHost, RegistryConfig>();
  const problems: string[] = [];
  if (!isMapping(value)) {
    if (value !== undefined)
      problems.push(`registries: is no section of registries (${options.originOf(['registries'])})`);
    return { registries, problems, hasSecrets: false, secretFiles: [] };
  }
  for (const [name, fields] of Object.entries(value)) {
    const origin = options.originOf(['registries', name]);
    const host = tryParseRegistryHost(name);
    const tell = (problem: string): unknown => problems.push(`registries.${name}${problem} (${origin})`);
    if (host === undefined) tell(': is no registry; allowed: HOST, HOST:PORT, [IPv6]:PORT');
    else if (registries.has(host)) tell(`: ${host} is configured twice`);
    else {
      const config = await readRegistry(name, fields ?? {}, options, problems);
      registries.set(host, config);
    }
  }
  const entries = Object.values(value).filter(isMapping);
  return {
    registries,
    problems,
    hasSecrets: entries.some((entry) => Object.keys(entry).some((field) => SECRET_FIELDS.has(field))),
    secretFiles: entries
      .flatMap((entry) => [entry['password-file'], entry['key-file']])
      .filter((file) => typeof file === 'string'),
  };
}

async function readRegistry(
  name: string,
  fields: unknown,
  options: ReadRegistriesOptions,
  problems: string[],
): Promise<RegistryConfig> {
  const at = (...path: readonly string[]): string => options.originOf(['registries', name, ...path]);
  const prefix = `registries.${name}`;
  if (!isMapping(fields)) {
    problems.push(`${prefix}: is no section (${at()})`);
    return {};
  }
  for (const field of Object.keys(fields).filter((key) => !Object.hasOwn(FIELDS, key))) {
    problems.push(
      `${prefix}.${field}: no such setting${didYouMean(field, Object.keys(FIELDS))} (${at(field)})`,
    );
  }
  const result = v.safeParse(entrySchema, fields);
  if (!result.success) {
    for (const issue of result.issues) {
      const path = issue.path?.map((item) => String(item.key)) ?? [];
      const shown = printable(path, issue.input, issue.message);
      problems.push(`${prefix}.${path.join('.')}: ${shown}${issue.message} (${at(...path)})`);
    }
    return {};
  }
  const credential = await readCredential(result.output, options.readFile).catch((error: unknown) => {
    problems.push(`${prefix}: ${errorMessage(error)} (${at()})`);
    return undefined;
  });
  const entry = result.output;
  const { 'cert-file': certFile, 'key-file': keyFile } = entry;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problems.push(`${prefix}: has one of cert-file and key-file; a client certificate needs both (${at()})`);
  }
  const clientCertificate =
    certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
  return {
    endpoint: entry.endpoint,
    mirrors: entry.mirrors,
    plainHttp: entry['plain-http'],
    plainRedirects: entry['plain-redirects'],
    skipVerify: entry['skip-verify'],
    caFiles: entry['ca-file'] === undefined ? undefined : [entry['ca-file']],
    clientCertificate,
    credential,
  };
}

/** The value in quotes and a space; nothing if it is or may hold a secret. */
function printable(path: readonly string[], input: unknown, message: string): string {
  const secret = path.some((field) => SECRET_FIELDS.has(field)) || message.includes('credential');
  return secret ? '' : `${JSON.stringify(input)} `;
}

async function readCredential(entry: Entry, readFile: ReadFile): Promise<RegistryConfig['credential']> {
  const { username, password, token } = entry;
  const file = entry['password-file'];
  if (token !== undefined) {
    if (username !== undefined || password !== undefined || file !== undefined) {
      throw new Error('has a token and a name or password; allowed: one of the two');
    }
    return { kind: 'bearer', token };
  }
  if (password !== undefined && file !== undefined) {
    throw new Error('has both password and password-file; allowed: one of the two');
  }
  if (username === undefined && (password ?? file) === undefined) return undefined;
  if (username === undefined) throw new Error('has a password but no username');
  if (password !== undefined) return { kind: 'basic', username, password };
  if (file === undefined) throw new Error('has a username but neither password nor password-file');
  const secret = (await readFile(file, MAX_PASSWORD_BYTES))?.replace(/\r?\n$/, '');
  if (secret === undefined) throw new Error(`password-file ${file}: no such file`);
  if (secret === '') throw new Error(`password-file ${file}: is empty`);
  return { kind: 'basic', username, password: secret };
}
