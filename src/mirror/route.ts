/**
 * Parses a request target (OCI distribution spec, pull side). The registry is that of `?ns=` (containerd), else the first
 * path element if that is a host (podman, skopeo, CRI-O), else the default one (Docker). A path element cannot hold a
 * colon, so `host__port` stands for `host:port`: no host has an underscore.
 */
import { WeirError } from '../util/errors.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { parseManifestReference, type ManifestReference } from '../oci/reference.ts';
import {
  looksLikeHost,
  parseRegistryHost,
  parseRepository,
  type RegistryHost,
  type Repository,
} from '../oci/repository.ts';

/** Characters of a request target: a name of 255, a sha512 digest, a registry of 255 and a query of tags/list fit in. */
export const MAX_TARGET_LENGTH = 4096;

/** The port of a registry in a path element. */
const PORT_IN_PATH = /__(\d{1,5})$/;

interface Addressed {
  readonly repository: Repository;
  /** The registry is in the path: such a client cannot fall back to the registry for a single blob. */
  readonly byPath: boolean;
}

interface Listed extends Addressed {
  /** The path behind the repository's name, for upstream. */
  readonly path: string;
  /** The query, without `ns`. */
  readonly query: URLSearchParams;
  /** The path by which this request addressed the repository, for links to the next page. */
  readonly mirrorPath: string;
  readonly ns: string | undefined;
}

export type Route =
  | { readonly kind: 'ping' }
  | (Addressed & { readonly kind: 'manifest'; readonly reference: ManifestReference })
  | (Addressed & { readonly kind: 'blob'; readonly digest: Digest })
  | (Listed & { readonly kind: 'tags'; readonly path: 'tags/list' })
  | (Listed & { readonly kind: 'referrers'; readonly path: `referrers/${string}`; readonly subject: Digest });

const ENDPOINT =
  /^(?<name>.+)\/(?:manifests\/(?<reference>[^/]+)|blobs\/(?<blob>[^/]+)|(?<tags>tags\/list)|referrers\/(?<subject>[^/]+))$/;

/**
 * @param target the request target as it came: path and query
 * @throws WeirError `uri_too_long`, `bad_request`, `not_found`, `name_invalid`, `digest_invalid`, `reference_invalid`
 */
export function parseRoute(target: string, defaultRegistry: RegistryHost): Route {
  if (target.length > MAX_TARGET_LENGTH) {
    throw new WeirError('uri_too_long', `the request target is longer than ${MAX_TARGET_LENGTH} characters`);
  }
  const [rawPath, rawQuery] = splitOnce(target, '?');
  const path = decode(rawPath);
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' };
  const groups = path.startsWith('/v2/') ? ENDPOINT.exec(path.slice('/v2/'.length))?.groups : undefined;
  if (groups === undefined) throw new WeirError('not_found', 'not an endpoint of the distribution spec');
  const { name = '', reference, blob, tags, subject } = groups;
  const query = new URLSearchParams(rawQuery);
  const ns = query.get('ns') ?? undefined;
  query.delete('ns');
  const addressed = address(name, ns, defaultRegistry);
  if (reference !== undefined) {
    return { kind: 'manifest', ...addressed, reference: parseManifestReference(reference) };
  }
  if (blob !== undefined) return { kind: 'blob', ...addressed, digest: parseDigest(blob) };
  const mirrorPath = `/v2/${name}`;
  if (tags !== undefined) return { kind: 'tags', ...addressed, path: 'tags/list', query, mirrorPath, ns };
  const digest = parseDigest(subject ?? '');
  const list = { path: `referrers/${digest}`, query, mirrorPath, ns } as const;
  return { kind: 'referrers', ...addressed, ...list, subject: digest };
}

function address(name: string, ns: string | undefined, defaultRegistry: RegistryHost): Addressed {
  if (ns !== undefined) return { repository: parseRepository(parseRegistryHost(ns), name), byPath: false };
  const [element, rest] = splitOnce(name, '/');
  const first = element.replace(PORT_IN_PATH, ':$1');
  if (rest !== '' && looksLikeHost(first)) {
    return { repository: parseRepository(parseRegistryHost(first), rest), byPath: true };
  }
  return { repository: parseRepository(defaultRegistry, name), byPath: false };
}

function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** IPv6 literals and digests may come percent-encoded. */
function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    throw new WeirError('bad_request', 'the path is not well-formed (percent encoding)', { cause });
  }
}
