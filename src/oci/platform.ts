/** Chooses the image of an index by platform (image spec, image-index.md, "platform"). */
import { WeirError } from '../util/errors.ts';
import type { Descriptor, Platform } from './manifest.ts';

/** Names of architectures in Node.js that differ from Go's, which images use. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

const PLATFORM = /^([a-z0-9_.]+)\/([a-z0-9_.]+)(?:\/([a-z0-9_.]+))?$/;

/** The platform that a runtime on this machine pulls. Images are for Linux even if the machine runs another system. */
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
 * The manifest for `platform`: the first one of the same variant. If no variant was asked for, it may be the first one of
 * the same architecture (arm64 has only one variant that matters, v8, which is seldom written).
 * @throws WeirError `manifest_unknown` that lists the platforms of the image
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
