/**
 * The admin address: /healthz (the process answers), /readyz (it serves and is not draining) and /metrics. The reports
 * /v1/status, /v1/peers, /v1/pulls and /v1/imports name images and members, so they are for this machine alone, as is the
 * store: /v1/store (docs/admin-api.md). What changes something needs a token, too, as do orders
 * to preheat (preheat-routes.ts).
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { KIB, SECOND } from '../util/clock.ts';
import { isWeirError, type WeirError } from '../util/errors.ts';
import { isLoopback } from '../util/ip-address.ts';
import { listen, urlOf, type ListenAddress } from '../http/listen.ts';
import { createLocalServer } from '../http/local-server.ts';
import { WebGuard } from '../http/web-guard.ts';
import type { AdminImports } from './admin-imports.ts';
import { isStorePath, type StoreRoutes } from './store-routes.ts';
import { logLevelChangeSchema, type LogLevelReport } from '../status/log-level.ts';
import type { PullsReport } from '../status/pull-report.ts';
import type { PeersReport, StatusReport } from '../status/status-report.ts';

import { readChange } from './admin-change.ts';
import type { AdminToken } from './admin-token.ts';
import type { LogLevel } from './log-level.ts';
import { isPreheatPath, type PreheatRoutes } from './preheat-routes.ts';
import { parsePullsQuery, type PullsQuery } from './pull-ring.ts';

const PATHS =
  '/healthz, /readyz, /metrics, /v1/status, /v1/peers, /v1/pulls, /v1/imports, /v1/store, /v1/preheats and /v1/log-level';
/** Methods that change something. */
const CHANGES: Readonly<Record<string, readonly string[]>> = {
  '/v1/imports': ['POST', 'DELETE'],
  '/v1/log-level': ['PUT'],
};
const MAX_HEADER_BYTES = 8 * KIB;
/** A scrape takes milliseconds; a client that needs longer holds a connection open for nothing. */
const TIMEOUT = 10 * SECOND;
const MAX_CONNECTIONS = 64;
const BEYOND_LOOPBACK =
  'beyond loopback there are /healthz, /readyz and /metrics only: run weir status (or peers, pulls, store, log-level) on the node\n';
const IMPORTS = '/v1/imports';

export interface AdminServerOptions {
  readonly listen: readonly ListenAddress[];
  /** Further names of this address. */
  readonly hosts: readonly string[];
  readonly ready: () => boolean;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
  readonly status: () => StatusReport;
  readonly peers: () => PeersReport;
  readonly imports: Pick<AdminImports, 'answer'>;
  readonly store: Pick<StoreRoutes, 'answer'>;
  /** Default: there is no such path. */
  readonly preheats?: Pick<PreheatRoutes, 'answer'>;
  readonly pulls: (query: PullsQuery) => PullsReport;
  readonly logLevel: Pick<LogLevel, 'report' | 'change'>;
  /** Must be given to change something. */
  readonly token: AdminToken;
  readonly onProblem: (error: unknown) => void;
  readonly onWarning: (message: string) => void;
}

export class AdminServer implements AsyncDisposable {
  readonly #options: AdminServerOptions;
  readonly #guard: WebGuard;
  #servers: readonly Server[] = [];

  private constructor(options: AdminServerOptions) {
    this.#options = options;
    this.#guard = new WebGuard({ ...options, setting: 'admin.hosts' });
  }

  /** @throws WeirError `address_in_use` */
  static async start(options: AdminServerOptions): Promise<AdminServer> {
    const admin = new AdminServer(options);
    const { listen: addresses, onWarning } = options;
    admin.#servers = await listen({
      addresses,
      create: () => admin.#create(),
      setting: 'admin.listen',
      onWarning,
    });
    return admin;
  }

  /** `http://127.0.0.1:4771`, … */
  get addresses(): readonly string[] {
    return this.#servers.map(urlOf);
  }

  #create(): Server {
    const limits = { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: TIMEOUT, requestTimeout: 0 };
    const server = createLocalServer(limits, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        this.#options.onProblem(error);
        response.destroy();
      });
    });
    server.maxConnections = MAX_CONNECTIONS;
    return server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { ready, metrics, metricsType, status, peers, imports, pulls, logLevel, preheats } = this.#options;
    const [path = '', query] = (request.url ?? '').split('?', 2);
    const { method = '' } = request;
    const methods = ['GET', 'HEAD', ...(CHANGES[path] ?? [])];
    if (method !== 'POST' || path !== IMPORTS) limitBody(request);
    const orders = isPreheatPath(path) ? preheats : undefined;
    if (!methods.includes(method) && !isStorePath(path) && orders === undefined) {
      return send(response, 405, `${methods.join(', ')} only\n`, { Allow: methods.join(', ') });
    }
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return send(response, refusal.status, `${refusal.message}\n`);
    if (isStorePath(path)) return this.#answerStore(request, response);
    if (orders) return await orders.answer(request, response, path, isOfThisMachine(request.socket));
    switch (path) {
      case '/healthz':
        return send(response, 200, 'ok\n');
      case '/readyz':
        return ready() ? send(response, 200, 'ready\n') : send(response, 503, 'starting or shutting down\n');
      case '/metrics':
        return send(response, 200, await metrics(), { 'Content-Type': metricsType });
      case '/v1/status':
        return sendReport(request, response, status);
      case '/v1/peers':
        return sendReport(request, response, peers);
      case IMPORTS: {
        if (!isOfThisMachine(request.socket)) return send(response, 403, BEYOND_LOOPBACK);
        const { status: code, body } = await imports.answer(request);
        return typeof body === 'string' ? send(response, code, body) : sendJson(response, code, body);
      }
      case '/v1/pulls': {
        const wanted = parsePullsQuery(new URLSearchParams(query));
        if (typeof wanted !== 'string') return sendReport(request, response, () => pulls(wanted));
        return isOfThisMachine(request.socket)
          ? send(response, 400, `${wanted}\n`)
          : send(response, 403, BEYOND_LOOPBACK);
      }
      case '/v1/log-level':
        if (method === 'PUT') return this.#changeLogLevel(request, response);
        return sendReport(request, response, () => logLevel.report);
      default:
        return send(response, 404, `there are ${PATHS}\n`);
    }
  }

  async #changeLogLevel(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { logLevel, token } = this.#options;
    if (!isOfThisMachine(request.socket)) return send(response, 403, BEYOND_LOOPBACK);
    const change = await readChange(request, token, logLevelChangeSchema);
    if (change.kind === 'refused') return send(response, change.status, `${change.message}\n`);
    logLevel.change(change.value.level, 'PUT /v1/log-level');
    sendReport(request, response, () => logLevel.report);
  }

  async #answerStore(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOfThisMachine(request.socket)) return send(response, 403, BEYOND_LOOPBACK);
    const { method = '', url: target = '', headers } = request;
    const { authorization } = headers;
    const answer = await this.#options.store.answer({ method, target, authorization });
    if (typeof answer.body === 'string')
      return send(response, answer.status, `${answer.body}\n`, answer.headers);
    sendJson(response, answer.status, answer.body);
  }

  #refusal({ headers, httpVersion, socket }: IncomingMessage): WeirError | undefined {
    try {
      this.#guard.check({ headers, httpVersion, localAddress: socket.localAddress });
      return undefined;
    } catch (error) {
      if (isWeirError(error)) return error;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map((server) => once(server.close(), 'close'));
    for (const server of this.#servers) server.closeAllConnections();
    await Promise.all(closed);
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  response.end(body);
}

function sendReport(
  { socket }: IncomingMessage,
  response: ServerResponse,
  report: () => StatusReport | PeersReport | PullsReport | LogLevelReport,
): void {
  if (!isOfThisMachine(socket)) return send(response, 403, BEYOND_LOOPBACK);
  sendJson(response, 200, report());
}

function sendJson(response: ServerResponse, status: number, report: object): void {
  const headers = { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' };
  send(response, status, `${JSON.stringify(report)}\n`, headers);
}

/** A request that brings no archive ends soon: one whose body never does would hold its connection. */
function limitBody(request: IncomingMessage): void {
  const timer = setTimeout(() => {
    if (!request.complete) request.socket.destroy();
  }, TIMEOUT);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
}

/**
 * Whether both ends are on loopback. One end is not enough: a forwarder on this machine relays connections from elsewhere,
 * and the machine's own addresses can be forwarded to.
 */
function isOfThisMachine({ localAddress, remoteAddress }: Socket): boolean {
  return isLoopback(localAddress) && isLoopback(remoteAddress);
}
