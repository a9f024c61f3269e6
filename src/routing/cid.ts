/** Digests as content identifiers (multiformats/cid): version 1, codec raw, the digest itself as the multihash. */
import { CID } from 'multiformats/cid';
import { decode } from 'multiformats/hashes/digest';
import type { Digest } from '../oci/digest.ts';
import { multihashOf } from '../wire/multihash.ts';

/** The multicodec of bytes without a format. */
const RAW = 0x55;

export function cidOf(digest: Digest): CID {
  return CID.createV1(RAW, decode(multihashOf(digest)));
}
