/**
 * In whose name a registry is asked. Remembered answers are kept apart by caller: an answer to one of them says
 * nothing about the others.
 */
import { hash } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { formatAuthorization, type Credential } from './credential.ts';

/**
 * `configured`: a caller of this node without a credential; the one configured here is used for it, if there is one.
 * `anonymous`: a caller of another node without a credential; none configured here is used for it. Otherwise the
 * credential that the caller presented.
 */
export type Caller = 'configured' | 'anonymous' | PresentedCredential;

/** A credential and the registry that it was presented for. It is released only for a request to that registry. */
export class PresentedCredential {
  readonly registry: RegistryHost;
  /** Whether it was presented at this node, instead of another one. */
  readonly isLocal: boolean;
  readonly #credential: Credential;

  constructor(registry: RegistryHost, credential: Credential, isLocal: boolean) {
    this.registry = registry;
    this.isLocal = isLocal;
    this.#credential = credential;
  }

  get kind(): Credential['kind'] {
    return this.#credential.kind;
  }

  /**
   * The credential for a request to `registry`.
   * @throws WeirError `internal` if it was presented for another registry
   */
  for(registry: RegistryHost): Credential {
    if (registry !== this.registry) {
      throw new WeirError('internal', `a credential for ${this.registry} was about to go to ${registry}`);
    }
    return this.#credential;
  }

  /**
   * A key by which it can be remembered.
   * @param hashed a one-way function
   */
  named(hashed: (authorization: string) => string): string {
    return hashed(formatAuthorization(this.#credential));
  }
}

/** A caller of this node, with the credential that it presented. */
export function callerOf(registry: RegistryHost, credential: Credential | undefined): Caller {
  return credential === undefined ? 'configured' : new PresentedCredential(registry, credential, true);
}

/** A caller of another node, with the Bearer token that it presented there. */
export function remoteCallerOf(registry: RegistryHost, token: string | undefined): Caller {
  if (token === undefined) return 'anonymous';
  return new PresentedCredential(registry, { kind: 'bearer', token }, false);
}

/**
 * Whether it is a caller of this node, instead of another member. Only for those may credentials configured here be
 * used, and only they may name targets on this machine.
 */
export function isOfThisNode(caller: Caller): boolean {
  return typeof caller === 'string' ? caller === 'configured' : caller.isLocal;
}

/** The Bearer token of a caller for that registry: the only kind of credential that may leave the node. */
export function bearerOf(caller: Caller, registry: RegistryHost): string | undefined {
  if (typeof caller === 'string') return undefined;
  const credential = caller.for(registry);
  return credential.kind === 'bearer' ? credential.token : undefined;
}

/** A key for a caller that does not contain its credential. */
export function callerId(caller: Caller): string {
  return typeof caller === 'string' ? caller : caller.named((text) => hash('sha256', text, 'hex'));
}
