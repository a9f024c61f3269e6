/**
 * Decides the media type of a manifest. For a request by digest, the digest does not cover the type that the registry
 * names. Read as another kind of document, the same bytes name other content (CVE-2021-41190). So the document itself
 * decides, as far as it shows its kind. A registry's word counts only for types that manifests have.
 */
import { MEDIA_TYPES } from './manifest.ts';

/** Stands for an unknown type: no client reads it as a document. */
export const UNKNOWN_TYPE = 'application/octet-stream';

const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+json';
const SIGNED_SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

/** Types of manifests that registries serve. */
const KNOWN: ReadonlySet<string> = new Set([
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
  SCHEMA_1,
  SIGNED_SCHEMA_1,
  'application/vnd.oci.artifact.manifest.v1+json',
  'application/vnd.cncf.oras.artifact.manifest.v1+json',
]);
/** Types that a document may name itself: vendors have types of their own. */
const VENDOR_TYPE = /^application\/vnd\.[a-z0-9.+-]{1,127}\+json$/;

/** A Content-Type without its parameters; {@link UNKNOWN_TYPE} if there is none. */
export function plainType(header: string | undefined): string {
  const [type = ''] = (header ?? '').split(';');
  return type.trim().toLowerCase() || UNKNOWN_TYPE;
}

/** The type that a registry names, without parameters, if it is a manifest type; else {@link UNKNOWN_TYPE}. */
export function announcedType(header: string | undefined): string {
  const plain = plainType(header);
  return KNOWN.has(plain) ? plain : UNKNOWN_TYPE;
}

/** The type that the document itself shows; undefined if it shows none. */
export function documentType(bytes: Uint8Array): string | undefined {
  const document = parse(bytes);
  if (document === undefined) return undefined;
  const { mediaType } = document;
  if (typeof mediaType === 'string' && VENDOR_TYPE.test(mediaType.toLowerCase()))
    return mediaType.toLowerCase();
  if (document['schemaVersion'] === 1) return 'signatures' in document ? SIGNED_SCHEMA_1 : SCHEMA_1;
  const isIndex = 'manifests' in document;
  const isImage = 'layers' in document || 'config' in document;
  if (isIndex === isImage) return undefined; // neither or both: a guess could be wrong
  return isIndex ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest;
}

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
    const json: unknown = JSON.parse(text);
    const isObject = typeof json === 'object' && json !== null && !Array.isArray(json);
    return isObject ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not JSON: an unknown kind of document
  }
}

/** The Accept header of a manifest request (RFC 9110, section 12.5.1), as far as registries use it. */

/**
 * The media types in lower case, sorted, each once, without parameters. They are sorted because their order means
 * nothing, and Docker changes it with each request.
 */
export function acceptedTypes(header: string | undefined): readonly string[] {
  const types = (header ?? '').split(',').map((part) => (part.split(';', 1)[0] ?? '').trim().toLowerCase());
  return [...new Set(types)].filter((type) => type !== '').toSorted();
}

/**
 * Whether a client that sends `types` accepts a manifest of this media type. Without an Accept header it accepts all.
 */
export function isAccepted(types: readonly string[], mediaType: string): boolean {
  const wanted = mediaType.toLowerCase();
  return (
    types.length === 0 || types.some((type) => type === wanted || type === '*/*' || type === 'application/*')
  );
}
