/** Answers that the caller gets as the registry gave them, as far as they are harmless. */
import { MIB } from '../util/clock.ts';
import type { DocumentRoom } from './document-room.ts';
import { plainType } from '../oci/manifest-type.ts';
import type { Response } from './response.ts';

/** Bytes of an answer that is passed through; the same as for manifests. */
const MAX_PASSED_THROUGH = 4 * MIB;
/** Headers that mean something to the caller: their names, and values of plain text. */
const PASSED_HEADERS = /^(?:docker|oci)-[a-z0-9-]{1,64}$/;
const PASSED_VALUE = /^[\x20-\x7e]{1,256}$/;
/** The spec names two; registries add limits of their own. */
const MAX_PASSED_HEADERS = 16;
/** Characters of a Link header; the target of the next request may be no longer either. */
const MAX_LINK = 4096;

export interface PassedThrough {
  readonly status: number;
  /** The type that the registry names; nobody has read the body. */
  readonly mediaType: string;
  /** `docker-…` and `oci-…`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly link: string | undefined;
  readonly body: Uint8Array;
}

/** @throws WeirError `upstream_too_large`, `upstream_cut`, `upstream_stalled`, `too_many_requests`, `aborted` */
export async function passOn(response: Response, room: DocumentRoom): Promise<PassedThrough> {
  const body = await response.read(MAX_PASSED_THROUGH, room);
  const link = response.header('link');
  return {
    status: response.status,
    mediaType: plainType(response.header('content-type')),
    headers: passedHeaders(response),
    link: link !== undefined && link.length <= MAX_LINK ? link : undefined,
    body,
  };
}

function passedHeaders(response: Response): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.keys(response.headers)
      .filter((name) => PASSED_HEADERS.test(name))
      .map((name): [string, string] => [name, response.header(name) ?? ''])
      .filter(([, value]) => PASSED_VALUE.test(value))
      .slice(0, MAX_PASSED_HEADERS),
  );
}
