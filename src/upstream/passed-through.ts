/** An answer that is passed on as it is: a list of tags or of referrers. Its registry may be anybody's. */
import { mediaType } from './answer.ts';
import type { Response } from './response.ts';

/** What of its header means something to the caller: names, and values that are plain text. */
const HEADERS = /^(?:docker|oci)-[a-z0-9-]{1,64}$/;
const VALUE = /^[\x20-\x7e]{1,256}$/;
/** The spec names two; registries add limits of their own. */
const MAX_HEADERS = 16;
/** Characters of a Link; the target of the request that it leads to is not longer either. */
const MAX_LINK = 4096;

export interface PassedThrough {
  readonly status: number;
  /** As the registry says; nobody has looked at the body. */
  readonly mediaType: string;
  /** `docker-…` and `oci-…`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly link: string | undefined;
  readonly body: Uint8Array;
}

export function passedThrough(response: Response, body: Uint8Array): PassedThrough {
  const link = response.header('link');
  return {
    status: response.status,
    mediaType: mediaType(response),
    headers: passedHeaders(response),
    link: link !== undefined && link.length <= MAX_LINK ? link : undefined,
    body,
  };
}

function passedHeaders(response: Response): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.keys(response.headers)
      .filter((name) => HEADERS.test(name))
      .map((name): [string, string] => [name, response.header(name) ?? ''])
      .filter(([, value]) => VALUE.test(value))
      .slice(0, MAX_HEADERS),
  );
}
