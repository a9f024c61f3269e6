/**
 * The admin address: /healthz (the process answers), /readyz (it serves, and is not draining), /metrics, and the
 * reports /v1/status and /v1/peers (docs/admin-api.md).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KIB, SECOND } from '../clock.ts';
import { systemCode, WeirError } from '../errors.ts';
import type { ListenAddress } from '../mirror/mirror.ts';
import type { PeersReport, StatusReport } from '../status/report.ts';

const MAX_HEADER_BYTES: number = 8 * KIB;
/** A scrape takes milliseconds; whoever needs longer holds a connection open for nothing. */
const TIMEOUT: number = 10 * SECOND;
const MAX_CONNECTIONS = 64;

export interface AdminOptions {
  readonly listen: ListenAddress;
  readonly ready: () => boolean;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
  readonly status: () => StatusReport;
  readonly peers: () => PeersReport;
  readonly onProblem: (error: unknown) => void;
}

export class Admin implements AsyncDisposable {
  readonly #options: AdminOptions;
  readonly #server: Server;

  private constructor(options: AdminOptions) {
    this.#options = options;
    const limits = { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: TIMEOUT, requestTimeout: TIMEOUT };
    this.#server = createServer(limits, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        options.onProblem(error);
        response.destroy();
      });
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** @throws WeirError `address_in_use` */
  static async start(options: AdminOptions): Promise<Admin> {
    const admin = new Admin(options);
    const { host, port } = options.listen;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    admin.#server.once('error', (cause) => {
      const problem =
        systemCode(cause) === 'EADDRINUSE' ? 'is in use by another program' : 'cannot be listened on';
      const message = `${host} port ${port} ${problem}: choose another with --admin-listen`;
      reject(new WeirError('address_in_use', message, { cause }));
    });
    admin.#server.listen({ host, port }, resolve);
    await promise;
    return admin;
  }

  /** `http://127.0.0.1:4771` */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { ready, metrics, metricsType, status, peers } = this.#options;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return send(response, 405, 'GET and HEAD only\n', { Allow: 'GET, HEAD' });
    }
    switch ((request.url ?? '').split('?', 1)[0] ?? '') {
      case '/healthz':
        return send(response, 200, 'ok\n');
      case '/readyz':
        return ready() ? send(response, 200, 'ready\n') : send(response, 503, 'starting or shutting down\n');
      case '/metrics':
        return send(response, 200, await metrics(), { 'Content-Type': metricsType });
      case '/v1/status':
        return sendJson(response, status());
      case '/v1/peers':
        return sendJson(response, peers());
      default:
        return send(response, 404, 'there are /healthz, /readyz, /metrics, /v1/status and /v1/peers\n');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  response.end(body);
}

function sendJson(response: ServerResponse, report: StatusReport | PeersReport): void {
  const headers = { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' };
  send(response, 200, `${JSON.stringify(report)}\n`, headers);
}
