/**
 * The certificates that TLS connections trust: Node's bundled roots, the system's, and the operator's CA files.
 *
 * A context is built once per profile: parsing some 300 certificates takes 50 ms of CPU, which every connection would
 * pay otherwise.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { TlsProfile } from './endpoint.ts';
import type { ClientCertificate } from './registry-config.ts';

/**
 * Where distributions keep their roots, in the order of Go's crypto/x509, so that a node trusts the same roots as its
 * runtime. Node's own reader of the system store takes 0.4 s.
 */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Certificates from files, so that another thread need not read them again. PEM; can be cloned. */
export interface TrustedFiles {
  readonly extra: readonly string[];
  readonly files: ReadonlyMap<string, readonly string[]>;
  /** Client certificates by the path of the certificate. */
  readonly clients: ReadonlyMap<string, ClientPem>;
}

interface ClientPem {
  readonly cert: string;
  readonly key: string;
}

export class TrustStore {
  readonly #trusted: TrustedFiles;
  readonly #contexts = new Map<string, SecureContext>();
  #roots: readonly string[] | undefined;

  /** @param trusted read by {@link readTrusted} */
  constructor(trusted: TrustedFiles) {
    this.#trusted = trusted;
  }

  context(profile: TlsProfile): SecureContext {
    const key = profileKey(profile);
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    this.#roots ??= [...getCACertificates('default'), ...systemCertificates()];
    const { extra, files, clients } = this.#trusted;
    const own = profile.caFiles.flatMap((file) => files.get(file) ?? []);
    const client = profile.client && clients.get(profile.client.certFile);
    const context = createSecureContext({ ca: [...new Set([...this.#roots, ...extra, ...own])], ...client });
    this.#contexts.set(key, context);
    return context;
  }
}

/** Equal for profiles with the same certificates. */
export function profileKey({ caFiles, client }: TlsProfile): string {
  return JSON.stringify([caFiles, client?.certFile ?? '']);
}

/**
 * @param caFile trusted for all registries
 * @param profiles of all registries; their files are read now, so that a wrong path is found at the start
 * @throws WeirError `config_invalid` if a file cannot be read or contains no certificate, or a key is not its certificate's
 */
export function readTrusted(caFile: string | undefined, profiles: Iterable<TlsProfile>): TrustedFiles {
  const extra = caFile ? readCertificates(caFile) : [];
  const files = new Map<string, readonly string[]>();
  const clients = new Map<string, ClientPem>();
  for (const { caFiles, client } of profiles) {
    for (const file of caFiles) if (!files.has(file)) files.set(file, readCertificates(file));
    if (client !== undefined) clients.set(client.certFile, readClient(client));
  }
  return { extra, files, clients };
}

/** @throws WeirError `config_invalid`; it has nothing of the key */
export function readClient({ certFile, keyFile }: ClientCertificate): ClientPem {
  try {
    const pem = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    createSecureContext(pem); // throws where the two do not belong together
    return pem;
  } catch (cause) {
    const files = `${certFile} with the key ${keyFile}`;
    throw new WeirError(
      'config_invalid',
      `cannot use the client certificate ${files}: ${errorMessage(cause)}`,
      {
        cause,
      },
    );
  }
}

/** PEM. @throws WeirError `config_invalid` */
export function readCertificates(file: string): readonly string[] {
  try {
    const found: readonly string[] = readFileSync(file, 'utf8').match(CERTIFICATE) ?? [];
    if (found.length === 0) throw new Error('it contains no PEM certificate');
    for (const pem of found) void new X509Certificate(pem); // createSecureContext ignores certificates that it cannot parse
    return found;
  } catch (cause) {
    throw new WeirError('config_invalid', `cannot use the CA file ${file}: ${errorMessage(cause)}`, {
      cause,
    });
  }
}

function systemCertificates(): readonly string[] {
  const named = process.env['SSL_CERT_FILE'];
  for (const file of named ? [named] : SYSTEM_BUNDLES) {
    try {
      return readFileSync(file, 'utf8').match(CERTIFICATE) ?? [];
    } catch {
      continue; // another distribution's path; if no path exists, Node's roots remain
    }
  }
  return [];
}
