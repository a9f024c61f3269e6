/** Asks a node's admin address for its reports, and brings it images. Used by the commands and the demo. */
import type { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';
import * as v from 'valibot';
import { MIB, SECOND } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError, type ErrorCode } from '../util/errors.ts';
import { importsSchema, type ImportsReport } from './import-report.ts';
import { logLevelSchema, type LogLevelName, type LogLevelReport } from './log-level.ts';
import { pullsSchema, type PullsReport } from './pull-report.ts';
import { peersSchema, statusSchema, type PeersReport, type StatusReport } from './status-report.ts';

/** Milliseconds; a node answers in a few. An overloaded node takes longer and must not look dead. */
const TIMEOUT = 5 * SECOND;
/** Bytes of a report: 64 transfers with bitmaps are 2 MiB, 5,000 peers as much, 1,000 pulls 8 MiB; a larger answer is no report. */
const MAX_BYTES = 16 * MIB;
/** One request at a time, and one more if a caller has given up on its predecessor; `weir doctor` asks for all at once. */
const CONNECTIONS = 4;
/** Characters of a refusal that are shown. */
const MAX_SENTENCE = 400;

/** What a node's refusal to import, or to remove an import, stands for. */
const IMPORT_REFUSALS: Readonly<Partial<Record<number, ErrorCode>>> = {
  400: 'archive_invalid',
  403: 'import_refused',
  404: 'manifest_unknown',
  507: 'store_full',
};

type ChangeOptions = AskOptions & {
  /** The import token of the node. */
  readonly token: string;
};

/** Statuses with a sentence for people: what is asked for is not allowed, not there, or cannot be done now. */
const REFUSALS: ReadonlySet<number> = new Set([400, 401, 403, 404, 409, 503]);

interface AskOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface RequestOptions extends AskOptions {
  /** Default: GET. */
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Sent as a bearer token. */
  readonly token?: string | undefined;
  /** JSON. */
  readonly body?: string;
  /** Milliseconds until the answer begins. */
  readonly timeout?: number;
  /** Whether the node may say of what is asked for that it is not there, or cannot be done; default: only that it is denied. */
  readonly mayFail?: boolean;
  /** Codes of further statuses that are no answer. */
  readonly refusals?: Readonly<Partial<Record<number, ErrorCode>>>;
}

/** Which pulls are asked for; all of them by default. */
export interface PullsQuestion {
  /** Seconds that they took at least. */
  readonly slow?: number;
  /** A part of the image's name; `*` stands for any characters. */
  readonly image?: string;
  readonly limit?: number;
}

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
    return await this.ask('/v1/status', statusSchema, options);
  }

  /** @throws WeirError as {@link status} */
  async peers(options: AskOptions = {}): Promise<PeersReport> {
    return await this.ask('/v1/peers', peersSchema, options);
  }

  /** What was imported at this node. @throws WeirError as {@link status} */
  async imports(options: AskOptions = {}): Promise<ImportsReport> {
    return await this.ask('/v1/imports', importsSchema, options);
  }

  /**
   * Brings the images of an archive.
   * @param name of its one image; undefined: as the archive calls each
   * @throws WeirError `archive_invalid`, `import_refused`, `store_full`; as {@link status}
   */
  async import(archive: Readable, name: string | undefined, options: ChangeOptions): Promise<ImportsReport> {
    return await this.#change('POST', name, archive, options);
  }

  /** @throws WeirError `manifest_unknown`, `import_refused`; as {@link status} */
  async removeImport(name: string, options: ChangeOptions): Promise<ImportsReport> {
    return await this.#change('DELETE', name, undefined, options);
  }

  /** Whether the node serves: false while it starts or shuts down. @throws WeirError as {@link status} */
  async ready(options: AskOptions = {}): Promise<boolean> {
    const { status } = await this.#reach('/readyz', options);
    if (status === 200 || status === 503) return status === 200;
    throw this.#strange(`it answers ${status} for /readyz`);
  }

  /** In Prometheus' text format. @throws WeirError as {@link status} */
  async metrics(options: AskOptions = {}): Promise<string> {
    return await this.#text('/metrics', options);
  }

  /** @throws WeirError as {@link status}; `bad_request` if the node does not understand the question */
  async pulls(question: PullsQuestion = {}, options: AskOptions = {}): Promise<PullsReport> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(question)) query.set(name, String(value));
    return await this.ask(`/v1/pulls?${query.toString()}`, pullsSchema, options);
  }

  /** @throws WeirError as {@link status} */
  async logLevel(options: AskOptions = {}): Promise<LogLevelReport> {
    return await this.ask('/v1/log-level', logLevelSchema, options);
  }

  /**
   * @param token of the node's data folder
   * @throws WeirError as {@link status}; `upstream_unauthorized` if the token is another one
   */
  async setLogLevel(level: LogLevelName, token: string, options: AskOptions = {}): Promise<LogLevelReport> {
    const change = { method: 'PUT', token, body: JSON.stringify({ level }) } as const;
    return await this.ask('/v1/log-level', logLevelSchema, { ...options, ...change });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy(); // not close(): that waits for a node that may never answer
  }

  /** @throws WeirError as {@link status}; the message of a refusal has the node's own words */
  async ask<T>(path: string, schema: v.GenericSchema<unknown, T>, options: RequestOptions): Promise<T> {
    return this.#parsed(path, await this.#text(path, options), schema);
  }

  async #text(path: string, options: RequestOptions): Promise<string> {
    const { status, body } = await this.#reach(path, options);
    const refusal = options.refusals?.[status];
    if (refusal !== undefined) throw new WeirError(refusal, `${this.#origin} refuses: ${sentence(body)}`);
    if (status === 403 || (options.mayFail === true && body !== '' && REFUSALS.has(status)))
      throw new WeirError('upstream_denied', `${this.#origin} refuses: ${sentence(body)}`);
    if (status === 401)
      throw new WeirError('upstream_unauthorized', `${this.#origin} wants ${sentence(body)}`);
    if (status === 400) throw new WeirError('bad_request', `${this.#origin}: ${sentence(body)}`);
    if (status !== 200 && status !== 201) throw this.#strange(`it answers ${status} for ${path}`);
    return body;
  }

  async #reach(path: string, options: RequestOptions): Promise<{ status: number; body: string }> {
    const { signal, method = 'GET', token, timeout = TIMEOUT, body } = options;
    const request = {
      path,
      method,
      headersTimeout: timeout,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      ...(signal && { signal }),
    };
    return await this.#send(request).catch((cause: unknown) => {
      signal?.throwIfAborted();
      if (isWeirError(cause)) throw cause;
      const problem = `no node answers at ${this.#origin}`;
      throw new WeirError('upstream_unreachable', problem, { cause });
    });
  }

  async #change(
    method: 'POST' | 'DELETE',
    name: string | undefined,
    archive: Readable | undefined,
    { token, signal }: ChangeOptions,
  ): Promise<ImportsReport> {
    const path = `/v1/imports${name === undefined ? '' : `?name=${encodeURIComponent(name)}`}`;
    const failed: { source?: Error } = {};
    archive?.once('error', (error) => (failed.source = error));
    const { status, body } = await this.#send({
      path,
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(archive && { body: archive }),
      ...(signal && { signal }),
      headersTimeout: 0, // the node answers when all is stored
      bodyTimeout: 0,
    }).catch((cause: unknown) => {
      signal?.throwIfAborted();
      if (failed.source !== undefined) throw failed.source;
      if (isWeirError(cause)) throw cause;
      throw new WeirError('upstream_unreachable', `${this.#origin} went away`, { cause });
    });
    const refusal = IMPORT_REFUSALS[status];
    if (refusal !== undefined) throw new WeirError(refusal, sentence(body));
    if (status !== 200) throw this.#strange(`it answers ${status} for ${path}`);
    return this.#parsed(path, body, importsSchema);
  }

  #parsed<T>(path: string, body: string, schema: v.GenericSchema<unknown, T>): T {
    const parsed = v.safeParse(schema, this.#parse(body));
    if (parsed.success) return parsed.output;
    const [issue] = parsed.issues;
    throw this.#strange(`${v.getDotPath(issue) ?? path}: ${issue.message}`);
  }

  async #send(options: Dispatcher.RequestOptions): Promise<{ status: number; body: string }> {
    const { statusCode, body } = await this.#pool.request(options);
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
