/** Image references: `alpine`, `ghcr.io/org/app:v1`, `[::1]:5000/a/b@sha256:…`. */
import { WeirError } from '../util/errors.ts';
import { tryParseDigest, type Digest } from './digest.ts';
import {
  DOCKER_HUB,
  looksLikeHost,
  parseRegistryHost,
  parseRepository,
  repositoryKey,
  type RegistryHost,
  type Repository,
} from './repository.ts';

declare const tagBrand: unique symbol;

/** A tag (distribution spec: at most 128 characters). */
export type Tag = string & { readonly [tagBrand]: true };

/** The path element after `manifests/`: a tag or a digest. */
export type ManifestReference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

export interface ImageReference {
  readonly repository: Repository;
  readonly reference: ManifestReference;
}

const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** @throws WeirError `reference_invalid` */
export function parseManifestReference(text: string): ManifestReference {
  const digest = tryParseDigest(text);
  if (digest !== undefined) return { kind: 'digest', digest };
  if (TAG.test(text)) return { kind: 'tag', tag: text as Tag };
  throw new WeirError(
    'reference_invalid',
    `neither a tag nor a digest: ${JSON.stringify(text.slice(0, 140))} ` +
      '(allowed: a tag of at most 128 letters, digits and ._-, or sha256:<64 hex>, sha512:<128 hex>)',
  );
}

/**
 * Reads an image reference as users type it. A digest wins over a tag (`app:v1@sha256:…`), and the default tag is
 * `latest`. If the first path element is no host, the registry is `defaultRegistry`.
 * @throws WeirError `reference_invalid`, `name_invalid`
 */
export function parseImageReference(
  text: string,
  defaultRegistry: RegistryHost = DOCKER_HUB,
): ImageReference {
  const [beforeDigest = '', digestText, ...rest] = text.split('@');
  if (rest.length > 0)
    throw new WeirError('reference_invalid', `more than one "@" in ${JSON.stringify(text)}`);
  const slash = beforeDigest.indexOf('/');
  const first = slash === -1 ? '' : beforeDigest.slice(0, slash);
  const hasHost = looksLikeHost(first);
  const registry = hasHost ? parseRegistryHost(first) : defaultRegistry;
  const path = hasHost ? beforeDigest.slice(slash + 1) : beforeDigest;
  const colon = path.indexOf(':');
  const name = colon === -1 ? path : path.slice(0, colon);
  const tag = colon === -1 ? undefined : parseManifestReference(path.slice(colon + 1));
  if (tag?.kind === 'digest') {
    throw new WeirError(
      'reference_invalid',
      `write "@" instead of ":" before the digest in ${JSON.stringify(text)}`,
    );
  }
  const reference = digestText === undefined ? tag : parseManifestReference(digestText);
  if (digestText !== undefined && reference?.kind !== 'digest') {
    throw new WeirError('reference_invalid', `"@" is not followed by a digest in ${JSON.stringify(text)}`);
  }
  return {
    repository: parseRepository(registry, name),
    reference: reference ?? { kind: 'tag', tag: 'latest' as Tag },
  };
}

export function formatManifestReference(reference: ManifestReference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}

/** `docker.io/library/alpine:latest` or `docker.io/library/alpine@sha256:…`. */
export function formatImageReference(image: ImageReference): string {
  const separator = image.reference.kind === 'tag' ? ':' : '@';
  return `${repositoryKey(image.repository)}${separator}${formatManifestReference(image.reference)}`;
}
