/** Each registry: TLS with the configured certificates, an answer to `/v2/`, and the configured credential. */
import type { RegistryHost } from '../../oci/repository.ts';
import type { EndpointProbe } from '../../upstream/registry-probe.ts';
import { isWeirError, type WeirError } from '../../util/errors.ts';
import { ok, skipped, warning, wrong, type Check, type DoctorContext, type Finding } from './check.ts';
import { rootCause } from './facts.ts';

const REACH_CURE =
  'look at DNS, the firewall and the proxy (HTTPS_PROXY, NO_PROXY) of this machine; the endpoint can be set in registries';

export function registryChecks({ registries }: Pick<DoctorContext, 'registries'>): readonly Check[] {
  if (registries.length > 0) return registries.map(registryCheck);
  const found = 'none is configured';
  return [
    { name: 'registries', run: async () => skipped(found, 'name one with --registry, such as docker.io') },
  ];
}

function registryCheck(host: RegistryHost): Check {
  return {
    name: host,
    run: async ({ facts }) => {
      const probes = await facts.registry(host).catch((error: unknown) => {
        if (isWeirError(error)) return error;
        throw error;
      });
      if (!Array.isArray(probes)) return wrong((probes as WeirError).message, 'mend its entry in registries');
      return judge(host, probes as readonly EndpointProbe[]);
    },
  };
}

/** A registry is as good as its worst endpoint: mirrors that fail cost each pull a moment. */
export function judge(host: RegistryHost, probes: readonly EndpointProbe[]): Finding {
  const findings = probes.map((probe) => judgeEndpoint(host, probe));
  const bad = findings.filter(({ state }) => state === 'wrong' || state === 'warning');
  const [worst] = bad.toSorted((a, b) => Number(b.state === 'wrong') - Number(a.state === 'wrong'));
  if (worst === undefined) return ok(findings.map(({ found }) => found).join('; '));
  const found = bad.map((each) => each.found).join('; ');
  return worst.state === 'wrong' ? wrong(found, worst.cure) : warning(found, worst.cure);
}

function judgeEndpoint(host: RegistryHost, probe: EndpointProbe): Finding {
  const { origin, isMirror, status, account, error } = probe;
  const bad = isMirror ? warning : wrong;
  if (error !== undefined) return failure(probe, error, bad);
  if (account === 'refused') {
    return bad(
      `${origin} refuses the configured credential`,
      `put a valid one into registries.${host} (username and password-file, or token) or upstream.docker-config`,
    );
  }
  if (status !== 200 && status !== 401) {
    return bad(
      `${origin} answers ${status} to /v2/, instead of 200 or 401`,
      status === 403 || status === 400
        ? `if it wants a client certificate, set registries.${host}.cert-file and key-file`
        : `look whether a registry is there: registries.${host}.endpoint`,
    );
  }
  const accounts = {
    none: status === 401 ? 'wants a credential for what is private' : 'open',
    unasked: 'open; the configured credential is not asked for',
    accepted: 'takes the configured credential',
    refused: '',
  } as const;
  return ok(`${origin} ${accounts[account]}`);
}

function failure(
  { origin }: EndpointProbe,
  error: WeirError,
  bad: (found: string, cure?: string) => Finding,
): Finding {
  if (error.code === 'upstream_tls') {
    // The message of the registry client ends with the setting that cures it.
    const [found = '', cure] = error.message.split('; if ');
    return bad(found, cure === undefined ? undefined : `if ${cure}`);
  }
  const message = error.message.includes(origin) ? error.message : `${origin}: ${error.message}`;
  const cause = rootCause(error);
  return bad(message.includes(cause) ? message : `${message} (${cause})`, REACH_CURE);
}
