/** One line of log for each request to the mirror: at level debug if all went well, else at info or above. */
import { isWeirError } from '../util/errors.ts';
import type { RequestReport } from '../mirror/mirror.ts';
import type { Route } from '../mirror/route.ts';
import { formatManifestReference } from '../oci/reference.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { Logger } from './logger.ts';

export function reportRequest(logger: Logger, { mirrorRequest, route, seconds, error }: RequestReport): void {
  const { request, response } = mirrorRequest;
  const fields = {
    request: mirrorRequest.id,
    method: request.method,
    ...describe(route),
    ...(request.headers.range === undefined ? {} : { range: request.headers.range.slice(0, 100) }),
    status: response.statusCode,
    source: mirrorRequest.source,
    bytes: mirrorRequest.bytes,
    seconds: Number(seconds.toFixed(3)),
  };
  if (error === undefined) logger.debug(fields, 'request served');
  else if (isWeirError(error, 'aborted')) logger.debug({ ...fields, err: error }, 'client went away');
  else if (response.headersSent && mirrorRequest.bytes > 0)
    logger.warn({ ...fields, err: error }, 'response cut');
  else if (error.code === 'internal') logger.error({ ...fields, err: error }, 'request failed');
  else logger.info({ ...fields, err: error }, 'request not served');
}

function describe(route: Route | undefined): Record<string, string> {
  if (route === undefined || route.kind === 'ping') return { route: route?.kind ?? 'none' };
  const { kind, repository } = route;
  const described = { route: kind, repository: repositoryKey(repository) };
  if (kind === 'manifest') return { ...described, reference: formatManifestReference(route.reference) };
  if (kind === 'blob') return { ...described, digest: route.digest };
  return described;
}
