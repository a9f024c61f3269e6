/**
 * Orders to preheat images, and the progress that a member replies (preheat.proto).
 *
 * An order makes a node pull with its own credentials. So it counts only with a MAC by a token that the operator gave both
 * nodes: to be a member is not enough. The MAC names sender and receiver, so that no member passes an order on.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { DAY, HOUR, KIB, SECOND } from '../util/clock.ts';
import { isWeirError } from '../util/errors.ts';
import { parsePlatform, formatPlatform } from '../oci/platform.ts';
import type { Platform } from '../oci/manifest.ts';
import { formatManifestReference, parseManifestReference, type ImageReference } from '../oci/reference.ts';
import { tryParseRepositoryName } from '../oci/repository.ts';
import { atMost, bytesOf, numberIn, parse, protocolError, registryOf, textOf } from './fields.ts';
import { publicKeyOf, type PeerId } from './peer-id.ts';
import {
  PreheatOrderSchema,
  PreheatProgressSchema,
  SignedPreheatOrderSchema,
  type PreheatReference,
} from './preheat_pb.ts';

export const PREHEAT_LIMITS = {
  images: 64,
  /** Characters of all names together: they go in one frame. */
  names: 32 * KIB,
  /** Characters of a platform. */
  platform: 80,
  /** Characters of a reason. */
  reason: 200,
  /** Milliseconds for which what was pulled may be kept: longer is the work of the runtime's own pins. */
  keep: 30 * DAY,
  /** Milliseconds from an order to its start: a later start is the work of a CronJob. */
  delay: 7 * DAY,
  /** Milliseconds from its start to its end: time for a large image over a slow link. */
  lifetime: 6 * HOUR,
  /** Bytes of an image. */
  size: 2 ** 50,
} as const;

const ID_BYTES = 16;
const MAC_BYTES = 32;
/** Keeps the MAC apart from whatever else may be made with the same token. */
const MAC_LABEL = 'weir preheat order 1\n';

export interface PreheatOrder {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly images: readonly ImageReference[];
  /** Undefined: the member's own. */
  readonly platform: Platform | undefined;
  /** Milliseconds since the epoch, as {@link expires}. */
  readonly starts: number;
  readonly expires: number;
  /** Milliseconds for which what was pulled is kept; whole seconds on the wire. */
  readonly keep: number;
}

export const PREHEAT_STATES = [
  'waiting',
  'pulling',
  'done',
  'present',
  'other-platform',
  'no-room',
  'failed',
] as const;
/** `present`: all of it was here already. */
export type PreheatState = (typeof PREHEAT_STATES)[number];

export interface ImageProgress {
  readonly state: PreheatState;
  /** Why it is so; empty if there is nothing to say. */
  readonly reason: string;
  readonly presentBytes: number;
  /** Bytes of config and layers; 0 if they are not known yet. */
  readonly size: number;
}

/** `refused`: why the member did not take the order. */
export type MemberProgress =
  | { readonly refused: string }
  | { readonly refused: undefined; readonly images: readonly ImageProgress[] };

/** Who says something to whom. */
export interface Ends {
  readonly from: PeerId;
  readonly to: PeerId;
}

/** Whether the names of the images fit into one order. */
export function fitsOrder(images: readonly ImageReference[]): boolean {
  const names = images.map(nameOf);
  return lengthOf(names) <= PREHEAT_LIMITS.names;
}

export function encodePreheatOrder(order: PreheatOrder, ends: Ends, token: Uint8Array): Uint8Array {
  const { id, images, platform, starts, expires, keep } = order;
  const encoded = toBinary(
    PreheatOrderSchema,
    create(PreheatOrderSchema, {
      id: Buffer.from(id, 'hex'),
      images: images.map(nameOf),
      platform: platform === undefined ? '' : formatPlatform(platform),
      starts: BigInt(starts),
      expires: BigInt(expires),
      keep: Math.ceil(keep / SECOND),
    }),
  );
  const signed = create(SignedPreheatOrderSchema, { order: encoded, mac: macOf(encoded, ends, token) });
  return toBinary(SignedPreheatOrderSchema, signed);
}

/**
 * @returns undefined if the sender does not have this token
 * @throws WeirError `peer_protocol`
 */
export function decodePreheatOrder(
  bytes: Uint8Array,
  ends: Ends,
  token: Uint8Array,
): PreheatOrder | undefined {
  const { order, mac } = parse(SignedPreheatOrderSchema, bytes);
  if (!timingSafeEqual(bytesOf('the MAC', mac, MAC_BYTES), macOf(order, ends, token))) return undefined;
  const { id, images, platform, starts, expires, keep } = parse(PreheatOrderSchema, order);
  if (images.length === 0) throw protocolError('an order without images');
  if (lengthOf(images) > PREHEAT_LIMITS.names) throw protocolError('an order with names that are too long');
  const start = numberIn('starts', starts, 0, Number.MAX_SAFE_INTEGER);
  return {
    id: Buffer.from(bytesOf('the ID', id, ID_BYTES)).toString('hex'),
    images: atMost('images', images, PREHEAT_LIMITS.images).map(referenceOf),
    platform: platformOf(textOf('platform', platform, PREHEAT_LIMITS.platform)),
    starts: start,
    expires: numberIn('expires', expires, start, start + PREHEAT_LIMITS.lifetime),
    keep: numberIn('keep', keep, 0, PREHEAT_LIMITS.keep / SECOND) * SECOND,
  };
}

export function encodePreheatProgress(progress: MemberProgress): Uint8Array {
  if (progress.refused !== undefined) {
    const { refused } = progress;
    return toBinary(PreheatProgressSchema, create(PreheatProgressSchema, { refused: plain(refused) }));
  }
  const images = progress.images.map(({ state, reason, presentBytes, size }) => ({
    state: PREHEAT_STATES.indexOf(state) + 1,
    reason: plain(reason),
    presentBytes: BigInt(Math.min(presentBytes, PREHEAT_LIMITS.size)),
    size: BigInt(Math.min(size, PREHEAT_LIMITS.size)),
  }));
  return toBinary(PreheatProgressSchema, create(PreheatProgressSchema, { images }));
}

/** @throws WeirError `peer_protocol` */
export function decodePreheatProgress(bytes: Uint8Array): MemberProgress {
  const { refused, images } = parse(PreheatProgressSchema, bytes);
  if (refused !== '') return { refused: textOf('refused', refused, PREHEAT_LIMITS.reason) };
  return {
    refused: undefined,
    images: atMost('images', images, PREHEAT_LIMITS.images).map(({ state, reason, presentBytes, size }) => ({
      state: PREHEAT_STATES[state - 1] ?? 'failed',
      reason: textOf('reason', reason, PREHEAT_LIMITS.reason),
      presentBytes: numberIn('present bytes', presentBytes, 0, PREHEAT_LIMITS.size),
      size: numberIn('size', size, 0, PREHEAT_LIMITS.size),
    })),
  };
}

function macOf(order: Uint8Array, { from, to }: Ends, token: Uint8Array): Uint8Array {
  const mac = createHmac('sha256', token).update(MAC_LABEL);
  return mac.update(publicKeyOf(from)).update(publicKeyOf(to)).update(order).digest();
}

type Name = Pick<PreheatReference, 'registry' | 'repository' | 'reference'>;

function nameOf({ repository, reference }: ImageReference): Name {
  const { registry, name } = repository;
  return { registry, repository: name, reference: formatManifestReference(reference) };
}

function lengthOf(names: readonly Name[]): number {
  return names.reduce(
    (sum, { registry, repository, reference }) =>
      sum + registry.length + repository.length + reference.length,
    0,
  );
}

function referenceOf({ registry, repository, reference }: Name): ImageReference {
  const name = tryParseRepositoryName(repository);
  if (name === undefined) throw protocolError('not a repository');
  return {
    repository: { registry: registryOf(registry), name },
    reference: read('neither a tag nor a digest', () => parseManifestReference(reference)),
  };
}

function platformOf(text: string): Platform | undefined {
  return text === '' ? undefined : read('not a platform', () => parsePlatform(text));
}

function read<T>(problem: string, parser: () => T): T {
  try {
    return parser();
  } catch (cause) {
    if (isWeirError(cause, 'reference_invalid', 'bad_request')) throw protocolError(problem, cause);
    throw cause;
  }
}

/** Registries write what errors say: only what a terminal can show goes on. */
function plain(text: string): string {
  return text.replaceAll(/[^ -~]+/g, ' ').slice(0, PREHEAT_LIMITS.reason);
}
