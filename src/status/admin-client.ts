/** Asks a node's admin address for its reports. Used by `weir status`, `weir peers`, `weir pulls` and the demo. */
import { Pool } from 'undici';
import * as v from 'valibot';
import { MIB, SECOND } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';
import { logLevelSchema, type LogLevelName, type LogLevelReport } from './log-level.ts';
import { pullsSchema, type PullsReport } from './pull-report.ts';
import { peersSchema, statusSchema, type PeersReport, type StatusReport } from './status-report.ts';

/** Milliseconds; a node answers in a few. An overloaded node takes longer and must not look dead. */
const TIMEOUT = 5 * SECOND;
/** Bytes of a report: 64 transfers with bitmaps are 2 MiB, 5,000 peers as much, 1,000 pulls 8 MiB; a larger answer is no report. */
const MAX_BYTES = 16 * MIB;
/** One request at a time, and one more if a caller has given up on its predecessor. */
const CONNECTIONS = 2;
/** Characters of a refusal that are shown. */
const MAX_SENTENCE = 400;

/** Which pulls are asked for; all of them by default. */
export interface PullsQuestion {
  /** Seconds that they took at least. */
  readonly slow?: number;
  /** A part of the image's name; `*` stands for any characters. */
  readonly image?: string;
  readonly limit?: number;
}

type AskOptions = { readonly signal?: AbortSignal | undefined };

/** A PUT. */
interface Change {
  readonly token: string;
  readonly body: string;
}

type RequestOptions = AskOptions & { readonly change?: Change | undefined };

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
    return await this.#ask('/v1/status', statusSchema, options);
  }

  /** @throws WeirError as {@link status} */
  async peers(options: AskOptions = {}): Promise<PeersReport> {
    return await this.#ask('/v1/peers', peersSchema, options);
  }

  /** @throws WeirError as {@link status}; `bad_request` if the node does not understand the question */
  async pulls(question: PullsQuestion = {}, options: AskOptions = {}): Promise<PullsReport> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(question)) query.set(name, String(value));
    return await this.#ask(`/v1/pulls?${query.toString()}`, pullsSchema, options);
  }

  /** @throws WeirError as {@link status} */
  async logLevel(options: AskOptions = {}): Promise<LogLevelReport> {
    return await this.#ask('/v1/log-level', logLevelSchema, options);
  }

  /**
   * @param token of the node's data folder
   * @throws WeirError as {@link status}; `upstream_unauthorized` if the token is another one
   */
  async setLogLevel(level: LogLevelName, token: string, options: AskOptions = {}): Promise<LogLevelReport> {
    const change = { token, body: JSON.stringify({ level }) };
    return await this.#ask('/v1/log-level', logLevelSchema, { ...options, change });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy(); // not close(): that waits for a node that may never answer
  }

  async #ask<T>(
    path: string,
    schema: v.GenericSchema<unknown, T>,
    { signal, change }: RequestOptions,
  ): Promise<T> {
    const { status, body } = await this.#request(path, change, signal).catch((cause: unknown) => {
      signal?.throwIfAborted();
      if (isWeirError(cause)) throw cause;
      const problem = `no node answers at ${this.#origin}`;
      throw new WeirError('upstream_unreachable', problem, { cause });
    });
    if (status === 403) throw new WeirError('upstream_denied', `${this.#origin} refuses: ${sentence(body)}`);
    if (status === 401)
      throw new WeirError('upstream_unauthorized', `${this.#origin} wants ${sentence(body)}`);
    if (status === 400) throw new WeirError('bad_request', `${this.#origin}: ${sentence(body)}`);
    if (status !== 200) throw this.#strange(`it answers ${status} for ${path}`);
    const parsed = v.safeParse(schema, this.#parse(body));
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    throw this.#strange(`${v.getDotPath(issue) ?? path}: ${issue.message}`);
  }

  async #request(
    path: string,
    change: Change | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ status: number; body: string }> {
    const put = change && {
      method: 'PUT' as const,
      headers: { authorization: `Bearer ${change.token}`, 'content-type': 'application/json' },
      body: change.body,
    };
    const asked = { path, method: 'GET' as const, ...put, ...(signal && { signal }) };
    const { statusCode, body } = await this.#pool.request(asked);
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
