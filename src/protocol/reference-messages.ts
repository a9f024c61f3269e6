/** Questions and answers about tags and manifests (references.proto). */
import { create, toBinary } from '@bufbuild/protobuf';
import { KIB, SECOND } from '../util/clock.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { parseManifestReference, type ManifestReference } from '../oci/reference.ts';
import { tryParseRepositoryName, type Repository } from '../oci/repository.ts';
import { isText, numberIn, parse, protocolError, registryOf, textOf } from './fields.ts';
import { ReferenceAnswerSchema, ReferenceQuestionSchema } from './references_pb.ts';

/** Characters of an Accept header: the types of all runtimes together take about 600. */
const MAX_ACCEPT = 4 * KIB;
/** The longest token that the mirror accepts. */
const MAX_TOKEN = 16 * KIB;
const MAX_MEDIA_TYPE = 255;
const MAX_SIZE = 2 ** 40;
const STATUSES = ['found', 'unknown', 'refused', 'unreachable'] as const;

export interface ReferenceQuestion {
  readonly repository: Repository;
  readonly reference: ManifestReference;
  readonly accept: string | undefined;
  readonly token: string | undefined;
  readonly knownOnly: boolean;
  /** Whether to answer only what was imported; the digest may then be that of a blob. */
  readonly imported?: true | undefined;
}

export type ReferenceAnswer =
  | {
      readonly status: 'found';
      readonly digest: Digest;
      readonly mediaType: string;
      readonly size: number | undefined;
      /** Milliseconds since upstream accepted this caller; whole seconds on the wire. */
      readonly granted: number;
      /** Upstream could not be reached: this was its last answer. */
      readonly stale: boolean;
      /** The member has imported it, and no registry was asked. `granted` is then the time since. */
      readonly imported?: true | undefined;
    }
  | { readonly status: 'unknown' }
  /** The registry refused this caller, as far as this member knows: the asker should ask the registry itself. */
  | { readonly status: 'refused' }
  | { readonly status: 'unreachable' };

/**
 * Whether the protocol allows the question, or the answer below. Callers write the questions and registries the
 * answers: neither may make this node look like a peer that breaks the protocol.
 */
export function isTellable({ accept = '' }: Pick<ReferenceQuestion, 'accept'>): boolean {
  return isText(accept, MAX_ACCEPT);
}

export function isTellableAnswer(answer: ReferenceAnswer): boolean {
  if (answer.status !== 'found') return true;
  return isText(answer.mediaType, MAX_MEDIA_TYPE) && (answer.size ?? 0) <= MAX_SIZE;
}

export function encodeReferenceQuestion(question: ReferenceQuestion): Uint8Array {
  const { repository, reference, accept = '', token = '', knownOnly, imported = false } = question;
  const text = reference.kind === 'tag' ? reference.tag : reference.digest;
  return toBinary(
    ReferenceQuestionSchema,
    create(ReferenceQuestionSchema, {
      registry: repository.registry,
      repository: repository.name,
      reference: text,
      accept,
      token,
      knownOnly,
      imported,
    }),
  );
}

/** @throws WeirError `peer_protocol` */
export function decodeReferenceQuestion(bytes: Uint8Array): ReferenceQuestion {
  const asked = parse(ReferenceQuestionSchema, bytes);
  const { registry, repository, reference, accept, token, knownOnly, imported } = asked;
  const name = tryParseRepositoryName(repository);
  if (name === undefined) throw protocolError('not a repository');
  return {
    repository: { registry: registryOf(registry), name },
    reference: referenceOf(reference),
    accept: textOf('accept', accept, MAX_ACCEPT) || undefined,
    token: tokenOf(token),
    knownOnly,
    ...(imported && { imported }),
  };
}

export function encodeReferenceAnswer(answer: ReferenceAnswer): Uint8Array {
  const status = STATUSES.indexOf(answer.status) + 1;
  const found = answer.status === 'found' ? answer : undefined;
  return toBinary(
    ReferenceAnswerSchema,
    create(ReferenceAnswerSchema, {
      status,
      digest: found?.digest ?? '',
      mediaType: found?.mediaType ?? '',
      size: BigInt(found?.size ?? 0),
      granted: Math.ceil((found?.granted ?? 0) / SECOND),
      stale: found?.stale ?? false,
      imported: found?.imported ?? false,
    }),
  );
}

/** @throws WeirError `peer_protocol` */
export function decodeReferenceAnswer(bytes: Uint8Array): ReferenceAnswer {
  const answer = parse(ReferenceAnswerSchema, bytes);
  const { status, digest, mediaType, size, granted, stale, imported } = answer;
  const kind = STATUSES[status - 1];
  if (kind === 'unknown' || kind === 'refused') return { status: kind };
  if (kind !== 'found') return { status: 'unreachable' };
  const parsed = tryParseDigest(digest);
  if (parsed === undefined) throw protocolError('not a digest');
  const known = numberIn('size', size, 0, MAX_SIZE);
  return {
    status: kind,
    digest: parsed,
    mediaType: textOf('media type', mediaType, MAX_MEDIA_TYPE),
    size: known === 0 ? undefined : known,
    granted: granted * SECOND,
    stale,
    ...(imported && { imported }),
  };
}

function referenceOf(text: string): ManifestReference {
  try {
    return parseManifestReference(text);
  } catch (cause) {
    throw protocolError('neither a tag nor a digest', cause);
  }
}

/** token68 (RFC 9110, section 11.2): anything else could break out of a header. */
function tokenOf(text: string): string | undefined {
  if (text === '') return undefined;
  if (text.length > MAX_TOKEN || !/^[A-Za-z0-9._~+/-]+=*$/.test(text)) throw protocolError('not a token');
  return text;
}
