/**
 * `/v1/preheats` of the admin address. A POST makes nodes pull, so it needs the token, from loopback too: every program of
 * the machine reaches that. The progress names images, so beyond loopback it needs the token as well.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../util/clock.ts';
import { KIB } from '../util/clock.ts';
import { isWeirError } from '../util/errors.ts';
import { isSameSecret } from '../util/secret.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { parseOrderRequest } from '../preheat/order-request.ts';
import type { PreheatOrders } from '../preheat/preheat-orders.ts';
import type { PreheatReport } from '../status/preheat-report.ts';

const PREHEATS = '/v1/preheats';
/** Bytes of an order: 64 names of images. */
const MAX_BODY = 64 * KIB;
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;
const JSON_TYPE = /^application\/json(?:;|$)/i;
const OFF =
  'preheat is off: set preheat.token-file to the path of a file with a token, the same on all nodes (docs/operations.md, "Preheat")';

/** Whether {@link PreheatRoutes} answers it. */
export function isPreheatPath(path: string): boolean {
  return path === PREHEATS || path.startsWith(`${PREHEATS}/`);
}

export interface PreheatRoutesOptions {
  readonly token: Uint8Array | undefined;
  readonly orders: Pick<PreheatOrders, 'create' | 'get' | 'list'>;
  readonly clock: Clock;
  readonly defaultRegistry: RegistryHost;
  readonly onOrdered: (report: PreheatReport) => void;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export class PreheatRoutes {
  readonly #options: PreheatRoutesOptions;

  constructor(options: PreheatRoutesOptions) {
    this.#options = options;
  }

  /**
   * The request has passed the guard against web pages.
   * @param path without its query: {@link PREHEATS}, or below it
   * @param isOfThisMachine whether both ends of the connection are on loopback
   */
  async answer(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    isOfThisMachine: boolean,
  ): Promise<void> {
    const { status, body, headers } = await this.#answer(request, path, isOfThisMachine);
    // A refused body is not read: what is left of it must not be taken for the next request.
    const close = request.method === 'POST' && status >= 400 ? { Connection: 'close' } : {};
    const isText = typeof body === 'string';
    const type = isText ? 'text/plain' : 'application/json';
    response.writeHead(status, {
      'Content-Type': `${type}; charset=utf-8`,
      'Cache-Control': 'no-store',
      ...headers,
      ...close,
    });
    response.end(`${isText ? body : JSON.stringify(body)}\n`);
  }

  async #answer(request: IncomingMessage, path: string, isOfThisMachine: boolean): Promise<Answer> {
    const { method } = request;
    const id = path.slice(PREHEATS.length + 1);
    const allowed = id === '' ? ['GET', 'HEAD', 'POST'] : ['GET', 'HEAD'];
    if (!allowed.includes(method ?? '')) {
      return { status: 405, body: `${allowed.join(', ')} only`, headers: { Allow: allowed.join(', ') } };
    }
    if (method === 'POST') return await this.#order(request);
    const refused = isOfThisMachine ? undefined : this.#refusal(request);
    if (refused !== undefined) return refused;
    if (id === '') return { status: 200, body: this.#options.orders.list() };
    const report = this.#options.orders.get(id);
    if (report !== undefined) return { status: 200, body: report };
    return {
      status: 404,
      body: 'this node knows no such order: it was given at another one, or is forgotten',
    };
  }

  async #order(request: IncomingMessage): Promise<Answer> {
    const { orders, clock, defaultRegistry, onOrdered } = this.#options;
    const refused = this.#refusal(request);
    if (refused !== undefined) return refused;
    // A page could send text as a form does; JSON it could not, without being asked for first (CORS).
    if (!JSON_TYPE.test(request.headers['content-type'] ?? '')) {
      return { status: 415, body: 'Content-Type: application/json only' };
    }
    const text = await bodyOf(request);
    if (text === undefined) return { status: 413, body: `an order has at most ${MAX_BODY} bytes` };
    try {
      const report = orders.create(parseOrderRequest(text, clock, defaultRegistry));
      onOrdered(report);
      return { status: 201, body: report, headers: { Location: `${PREHEATS}/${report.id}` } };
    } catch (error) {
      if (isWeirError(error, 'bad_request', 'reference_invalid', 'name_invalid', 'digest_invalid')) {
        return { status: 400, body: error.message };
      }
      if (isWeirError(error, 'too_many_requests')) return { status: error.status, body: error.message };
      throw error;
    }
  }

  /** Why this caller may not: it does not have the token, or there is none. */
  #refusal({ headers }: IncomingMessage): Answer | undefined {
    const { token } = this.#options;
    if (token === undefined) return { status: 403, body: OFF };
    const [, presented] = BEARER.exec(headers.authorization ?? '') ?? [];
    if (presented !== undefined && isSameSecret(presented, token)) return undefined;
    const body =
      presented === undefined
        ? 'the token of preheat.token-file is needed, as "Authorization: Bearer TOKEN"'
        : 'this is not the token of preheat.token-file';
    return { status: 401, body, headers: { 'WWW-Authenticate': 'Bearer realm="weir preheat"' } };
  }
}

/** Undefined if it is too long. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_BODY) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}
