/** Asks a node's admin address for its reports, and gives it orders. Used by `weir status`, `weir peers`, `weir preheat` and the demo. */
import { Pool } from 'undici';
import * as v from 'valibot';
import { MIB, SECOND } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError, type ErrorCode } from '../util/errors.ts';
import { preheatSchema, type PreheatReport } from './preheat-report.ts';
import { peersSchema, statusSchema, type PeersReport, type StatusReport } from './status-report.ts';

/** Milliseconds; a node answers in a few. An overloaded node takes longer and must not look dead. */
const TIMEOUT = 5 * SECOND;
/** Bytes of a report: 64 transfers with bitmaps are 2 MiB, 5,000 peers as much; a larger answer is no report. */
const MAX_BYTES = 16 * MIB;
/** One request at a time, and one more if a caller has given up on its predecessor. */
const CONNECTIONS = 2;
/** Characters of a refusal that are shown. */
const MAX_SENTENCE = 400;

type AskOptions = { readonly signal?: AbortSignal | undefined };

interface TokenOptions extends AskOptions {
  /** Undefined: presented is none. */
  readonly token: string | undefined;
}

interface Ask<T> extends AskOptions {
  readonly path: string;
  readonly schema: v.GenericSchema<unknown, T>;
  readonly token?: string | undefined;
  /** JSON: it is posted. */
  readonly body?: string;
}

/** The path of one order, before its ID. */
const ORDER = '/v1/preheats/';

/** What a refusal of the node means; its text follows. */
const REFUSALS: Readonly<Record<number, ErrorCode>> = {
  400: 'bad_request',
  401: 'upstream_unauthorized',
  403: 'upstream_denied',
  413: 'bad_request',
  503: 'too_many_requests',
};

export class AdminClient implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #origin: string;

  /** @param address `http://127.0.0.1:4771` */
  constructor(address: URL) {
    this.#origin = address.origin;
    this.#pool = new Pool(address.origin, {
      connections: CONNECTIONS,
      connectTimeout: TIMEOUT,
      headersTimeout: TIMEOUT,
      bodyTimeout: TIMEOUT,
    });
  }

  get origin(): string {
    return this.#origin;
  }

  /**
   * @throws WeirError `upstream_unreachable` if nothing answers, `upstream_denied` if the node refuses this caller,
   *   `upstream_protocol` if something else answers
   */
  async status(options: AskOptions = {}): Promise<StatusReport> {
    return await this.#ask({ path: '/v1/status', schema: statusSchema, ...options });
  }

  /** @throws WeirError as {@link status} */
  async peers(options: AskOptions = {}): Promise<PeersReport> {
    return await this.#ask({ path: '/v1/peers', schema: peersSchema, ...options });
  }

  /**
   * Has images pulled beforehand.
   * @param body of `POST /v1/preheats` (docs/admin-api.md)
   * @throws WeirError as {@link status}; `upstream_unauthorized` for a wrong token, `bad_request`, `too_many_requests`
   */
  async preheat(body: Readonly<Record<string, unknown>>, options: TokenOptions): Promise<PreheatReport> {
    const [path, schema] = ['/v1/preheats', preheatSchema];
    return await this.#ask({ path, schema, body: JSON.stringify(body), ...options });
  }

  /** The progress of an order that was given at this node. @throws WeirError as {@link preheat}; `not_found` */
  async preheatProgress(id: string, options: TokenOptions): Promise<PreheatReport> {
    return await this.#ask({ path: `${ORDER}${id}`, schema: preheatSchema, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy(); // not close(): that waits for a node that may never answer
  }

  async #ask<T>(asked: Ask<T>): Promise<T> {
    const { path, schema, signal } = asked;
    const { status, body } = await this.#request(asked).catch((cause: unknown) => {
      signal?.throwIfAborted();
      if (isWeirError(cause)) throw cause;
      const problem = `no node answers at ${this.#origin}`;
      throw new WeirError('upstream_unreachable', problem, { cause });
    });
    // A node of an older version has no such path at all: its text says so.
    const refusal = status === 404 && path.startsWith(ORDER) ? 'not_found' : REFUSALS[status];
    if (refusal !== undefined) throw new WeirError(refusal, `${this.#origin} refuses: ${sentence(body)}`);
    if (status !== 200 && status !== 201) throw this.#strange(`it answers ${status} for ${path}`);
    const parsed = v.safeParse(schema, this.#parse(body));
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    throw this.#strange(`${v.getDotPath(issue) ?? path}: ${issue.message}`);
  }

  async #request(asked: Omit<Ask<unknown>, 'schema'>): Promise<{ status: number; body: string }> {
    const { path, token, body: sent, signal } = asked;
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(sent !== undefined && { 'content-type': 'application/json' }),
    };
    const { statusCode, body } = await this.#pool.request({
      path,
      method: sent === undefined ? 'GET' : 'POST',
      headers,
      ...(sent !== undefined && { body: sent }),
      ...(signal && { signal }),
    });
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of body as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > MAX_BYTES) throw this.#strange(`more than ${MAX_BYTES} bytes`);
      parts.push(part);
    }
    return { status: statusCode, body: Buffer.concat(parts).toString() };
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw this.#strange(errorMessage(cause));
    }
  }

  #strange(what: string): WeirError {
    return new WeirError(
      'upstream_protocol',
      `what answers at ${this.#origin} is no admin address of a node of this version (${what})`,
    );
  }
}

/** The text of a refusal, safe for a terminal. */
function sentence(body: string): string {
  return body
    .slice(0, MAX_SENTENCE)
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim();
}
