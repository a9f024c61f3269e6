/**
 * A token server for tests: the distribution spec's token authentication, as docker-registry's `auth.token`
 * checks it. ES256 tokens; the key is named by a libtrust fingerprint, which docker-registry finds again among
 * the certificates of its `rootcertbundle`.
 */
import { createHash, createPrivateKey, createPublicKey, randomUUID, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { SignJWT } from 'jose';
import { HttpServer, type SeenRequest } from './http-server.ts';
import { runOk } from './program.ts';
import type { TokenAuth } from './registry.ts';
import { TempDir } from './temp.ts';

export interface TokenServerOptions {
  /** Name and password of each user. */
  readonly users?: Readonly<Record<string, string>>;
  /** Refresh token of each user; for clients that log in with one. */
  readonly refreshTokens?: Readonly<Record<string, string>>;
  /** Whether `user` (undefined: anonymous) may do `action` (`pull`, `push`) in `repository`; default: users all. */
  readonly allows?: (user: string | undefined, repository: string, action: string) => boolean;
  /** Seconds that a token is valid; default 60. */
  readonly expiry?: number;
  /** IPv4 address on which it listens; default 127.0.0.1. */
  readonly address?: string;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

export class TokenServer implements AsyncDisposable {
  /** Settings for docker-registry's configuration. */
  readonly auth: TokenAuth;
  readonly #dir: TempDir;
  readonly #key: KeyObject;
  readonly #keyId: string;
  readonly #options: TokenServerOptions;
  readonly #server: HttpServer;
  #issued = 0;

  private constructor(dir: TempDir, key: KeyObject, options: TokenServerOptions, server: HttpServer) {
    this.#dir = dir;
    this.#key = key;
    this.#keyId = libtrustFingerprint(key);
    this.#options = options;
    this.#server = server;
    this.auth = {
      realm: `${server.url}/token`,
      service: 'weir-test-registry',
      issuer: 'weir-test-issuer',
      rootCertBundle: dir.join('cert.pem'),
    };
  }

  static async start(options: TokenServerOptions = {}): Promise<TokenServer> {
    const dir = await TempDir.create('token-server');
    try {
      const makeCertificate =
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=weir-test-issuer';
      await runOk('openssl', [
        ...makeCertificate.split(' '),
        '-keyout',
        dir.join('key.pem'),
        '-out',
        dir.join('cert.pem'),
      ]);
      const key = createPrivateKey(await readFile(dir.join('key.pem')));
      const { address } = options;
      const server = await HttpServer.start(refuse, { ...(address !== undefined && { address }) });
      const self = new TokenServer(dir, key, options, server);
      server.handler = (request, response) => self.#answer(request, response);
      return self;
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Number of tokens that were given. */
  get issued(): number {
    return this.#issued;
  }

  get requests(): readonly SeenRequest[] {
    return this.#server.requests;
  }

  /** A token as the server would give it to `user` for `scope` (`repository:<name>:pull,push`). */
  async issue(user: string | undefined, ...scopes: readonly string[]): Promise<string> {
    const access = scopes.flatMap((scope) => this.#grant(user, scope));
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ access })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: this.#keyId })
      .setIssuer(this.auth.issuer)
      .setAudience(this.auth.service)
      .setSubject(user ?? '')
      .setJti(randomUUID())
      .setIssuedAt(now)
      .setNotBefore(now - 5)
      .setExpirationTime(now + this.#expiry)
      .sign(this.#key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }

  get #expiry(): number {
    return this.#options.expiry ?? 60;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.#server.url);
    const isPost = request.method === 'POST';
    const parameters = isPost ? new URLSearchParams(await text(request)) : url.searchParams;
    const user = isPost ? this.#byRefreshToken(parameters) : this.#byPassword(request.headers.authorization);
    if (url.pathname !== '/token' || parameters.get('service') !== this.auth.service) {
      response.writeHead(400).end();
    } else if (user === 'refused') {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="weir-test-token-server"' }).end();
    } else {
      const scopes = parameters.getAll('scope').flatMap((scope) => scope.split(' '));
      const token = await this.issue(user.name, ...scopes.filter((scope) => scope !== ''));
      this.#issued++;
      const body = { [isPost ? 'access_token' : 'token']: token, expires_in: this.#expiry };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }
  }

  #byPassword(header: string | undefined): { readonly name: string | undefined } | 'refused' {
    if (header === undefined) return { name: undefined };
    const given = Buffer.from(header.replace(/^Basic /, ''), 'base64').toString();
    const users = Object.entries(this.#options.users ?? {});
    const found = users.find(([name, password]) => given === `${name}:${password}`);
    return found ? { name: found[0] } : 'refused';
  }

  #byRefreshToken(form: URLSearchParams): { readonly name: string } | 'refused' {
    if (form.get('grant_type') !== 'refresh_token') return 'refused';
    const tokens = Object.entries(this.#options.refreshTokens ?? {});
    const found = tokens.find(([, token]) => token === form.get('refresh_token'));
    return found ? { name: found[0] } : 'refused';
  }

  #grant(user: string | undefined, scope: string): readonly Access[] {
    const [type = '', name = '', actions = ''] = scope.split(':');
    const allows = this.#options.allows ?? ((someone) => someone !== undefined);
    const granted = actions.split(',').filter((action) => allows(user, name, action));
    return granted.length === 0 ? [] : [{ type, name, actions: granted }];
  }
}

/** Before the server knows its key. */
function refuse(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(503).end();
}

/** libtrust, "key ID": the first 240 bits of the SHA-256 of the public key, base32, in groups of four. */
function libtrustFingerprint(key: KeyObject): string {
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const bytes = createHash('sha256').update(der).digest().subarray(0, 30);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const letters = bits.match(/.{5}/g)?.map((group) => alphabet[Number.parseInt(group, 2)]) ?? [];
  return letters.join('').match(/.{4}/g)?.join(':') ?? '';
}
