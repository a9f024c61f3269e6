/**
 * A pull as runtimes do it. podman (containers/image, docker/docker_client.go, body_reader.go): GET of the tag, then blobs;
 * after a cut one 206 that begins at the right byte. containerd (core/remotes/docker: resolver.go, fetcher.go,
 * httpreadseeker.go): HEAD of the tag, GET by digest, blobs; after a cut up to three ranges, and bytes before it are dropped
 * from a 200; each request goes to the next host if one fails.
 */
import { digestOf } from '../../src/oci/digest.ts';
import type { Behaviour } from './behaviour.ts';
import { goRequest, type GoResponse } from './go-http.ts';

/** Where requests go: `base` is before the repository's name, `query` behind each path. */
export interface Host {
  readonly base: string;
  readonly query: string;
  readonly isMirror: boolean;
}

export interface Pulled {
  /** The manifest's digest. */
  readonly manifest: string;
  /** Some of it came from the registry itself. */
  readonly isPast: boolean;
}

const RESUMPTIONS = { podman: 1, containerd: 3 } as const;

/** @throws Error if the pull fails */
export async function pull(client: Behaviour['client'], hosts: readonly Host[]): Promise<Pulled> {
  let isPast = false;
  const any = async <T>(work: (host: Host) => Promise<T>): Promise<T> => {
    let last: unknown;
    for (const host of hosts) {
      try {
        const result = await work(host);
        isPast ||= !host.isMirror;
        return result;
      } catch (error) {
        last ??= error;
      }
    }
    throw last;
  };
  let reference = '1';
  if (client === 'containerd') {
    reference = await any(async (host) => {
      const head = await ask('HEAD', host, 'manifests/1');
      return head.headers.get('docker-content-digest') ?? '1';
    });
  }
  const bytes = await any(async (host) => whole(await ask('GET', host, `manifests/${reference}`)));
  const manifest = digestOf(bytes);
  if (reference !== '1' && reference !== manifest) throw new Error('another manifest');
  const { config, layers } = JSON.parse(bytes.toString()) as {
    config: { digest: string };
    layers: readonly { digest: string }[];
  };
  await Promise.all([config, ...layers].map(({ digest }) => any((host) => blob(client, host, digest))));
  return { manifest, isPast };
}

async function blob(client: Behaviour['client'], host: Host, digest: string): Promise<void> {
  let { body, isCut } = await ask('GET', host, `blobs/${digest}`);
  for (let left = RESUMPTIONS[client]; isCut && left > 0; left--) {
    const next = await ask('GET', host, `blobs/${digest}`, { range: `bytes=${body.length}-` });
    const isHere = next.headers.get('content-range')?.startsWith(`bytes ${body.length}-`) === true;
    if (next.status === 206 ? !isHere : client === 'podman') throw new Error('another range');
    body = Buffer.concat([body, next.status === 206 ? next.body : next.body.subarray(body.length)]);
    ({ isCut } = next);
  }
  if (isCut) throw new Error('unexpected EOF');
  if (digestOf(body) !== digest) throw new Error('wrong bytes');
}

function whole({ body, isCut }: GoResponse): Buffer {
  if (isCut) throw new Error('unexpected EOF');
  return body;
}

async function ask(
  method: 'GET' | 'HEAD',
  host: Host,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<GoResponse> {
  const url = `${host.base}/a/b/${path}${host.query}`;
  let answer = await goRequest(method, url, headers);
  const realm = /realm="([^"]+)"/.exec(answer.headers.get('www-authenticate') ?? '')?.[1];
  if (answer.status === 401 && realm !== undefined) {
    const token = JSON.parse(whole(await goRequest('GET', realm)).toString()) as Record<string, unknown>;
    const bearer = String(token['token'] ?? token['access_token']);
    answer = await goRequest(method, url, { ...headers, authorization: `Bearer ${bearer}` });
  }
  if (answer.status !== 200 && answer.status !== 206) throw new Error(`${path}: status ${answer.status}`);
  return answer;
}
