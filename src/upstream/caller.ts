/**
 * In whose name a registry is asked. The three are told apart wherever an answer is remembered: what the registry says
 * to one of them says nothing about the others.
 */
import { hash } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { formatAuthorization, type Credential } from './credential.ts';

/**
 * `configured`: a caller of this node that presents nothing; the credential that is configured here speaks for it, if
 * there is one. `anonymous`: a caller of another node that presents nothing; nothing that is configured here speaks for
 * it. Else what the caller presented.
 */
export type Caller = 'configured' | 'anonymous' | PresentedCredential;

/** A credential and the registry that it was presented for. It is given out for a request to that registry alone. */
export class PresentedCredential {
  readonly registry: RegistryHost;
  /** Whether it was presented at this node, and not at another one. */
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
   * What goes into a request to `registry`.
   * @throws WeirError `internal` for another registry than it was presented for
   */
  for(registry: RegistryHost): Credential {
    if (registry !== this.registry) {
      throw new WeirError('internal', `a credential for ${this.registry} was about to go to ${registry}`);
    }
    return this.#credential;
  }

  /** A name for it, by which it can be remembered. @param hashed of which nobody finds the way back */
  named(hashed: (authorization: string) => string): string {
    return hashed(formatAuthorization(this.#credential));
  }
}

/** A caller of this node, by what it presented. */
export function callerOf(registry: RegistryHost, credential: Credential | undefined): Caller {
  return credential === undefined ? 'configured' : new PresentedCredential(registry, credential, true);
}

/** A caller of another node, by the Bearer token that it presented there. */
export function remoteCallerOf(registry: RegistryHost, token: string | undefined): Caller {
  if (token === undefined) return 'anonymous';
  return new PresentedCredential(registry, { kind: 'bearer', token }, false);
}

/**
 * Whether it is a caller of this node, and not of another member. Only for those may what is configured here speak, and
 * only they may name what is on this machine.
 */
export function isOfThisNode(caller: Caller): boolean {
  return typeof caller === 'string' ? caller === 'configured' : caller.isLocal;
}

/** The Bearer token of a caller, for that registry: the one kind of credential that may leave the node. */
export function bearerOf(caller: Caller, registry: RegistryHost): string | undefined {
  if (typeof caller === 'string') return undefined;
  const credential = caller.for(registry);
  return credential.kind === 'bearer' ? credential.token : undefined;
}

/** Names a caller in memory without holding its credential. */
export function callerId(caller: Caller): string {
  return typeof caller === 'string' ? caller : caller.named((text) => hash('sha256', text, 'hex'));
}
