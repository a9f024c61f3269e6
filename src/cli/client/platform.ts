/** Which image of an index is pulled (image spec, image-index.md, "platform"). */
import { WeirError } from '../../util/errors.ts';
import type { Descriptor, Platform } from '../../oci/manifest.ts';

/** Node.js' names of architectures, where Go's, which images use, differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

const PLATFORM = /^([a-z0-9_.]+)\/([a-z0-9_.]+)(?:\/([a-z0-9_.]+))?$/;

/** What a runtime on this machine pulls; images are Linux' also where the machine runs something else. */
export function hostPlatform(architecture: string = process.arch): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[architecture] ?? architecture };
}

/** @throws WeirError `bad_request` */
export function parsePlatform(text: string): Platform {
  const match = PLATFORM.exec(text);
  if (match === null) {
    throw new WeirError(
      'bad_request',
      `not a platform: ${JSON.stringify(text.slice(0, 80))} (allowed: OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64/v8)`,
    );
  }
  const [, os = '', architecture = '', variant] = match;
  return { os, architecture, variant };
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

function variantOf(platform: Platform | undefined): string | undefined {
  return platform?.variant ?? (platform?.architecture === 'arm64' ? 'v8' : undefined);
}

/**
 * The manifest for `platform`: the first one of the same variant, else the first of the same architecture where
 * no variant was asked for (arm64 has but one that matters, v8, which is seldom written).
 * @throws WeirError `manifest_unknown` where there is none, telling which there are
 */
export function selectManifest(manifests: readonly Descriptor[], platform: Platform): Descriptor {
  const fitting = manifests.filter(
    ({ platform: own }) => own?.os === platform.os && own.architecture === platform.architecture,
  );
  const exact = fitting.find(({ platform: own }) => variantOf(own) === variantOf(platform));
  const found = exact ?? (platform.variant === undefined ? fitting[0] : undefined);
  if (found !== undefined) return found;
  const known = manifests.flatMap(({ platform: own }) => (own === undefined ? [] : [formatPlatform(own)]));
  throw new WeirError(
    'manifest_unknown',
    `the image has no manifest for ${formatPlatform(platform)} (it has: ${[...new Set(known)].join(', ') || 'none'})`,
  );
}
