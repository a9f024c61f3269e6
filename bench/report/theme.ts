/**
 * Colours of charts and page. They are CSS variables with two sets of values, so that one SVG is legible on light and
 * on dark, within the page and as an image in a document. The systems' colours are those of Okabe and Ito, which
 * people with any kind of colour vision tell apart, made lighter for dark.
 */

const LIGHT =
  '--text:#1f2328;--faint:#d0d7de;--back:#ffffff;--a:#0072b2;--b:#d55e00;--c:#009e73;--d:#b5478a;--e:#8a6d00;--f:#3a87b8';
const DARK =
  '--text:#e6edf3;--faint:#3d444d;--back:#0d1117;--a:#4ea6dd;--b:#f0803c;--c:#2cc295;--d:#de8cbd;--e:#e6c229;--f:#9ad0f5';

export const STYLE: string = `:root{color-scheme:light dark;${LIGHT}}@media (prefers-color-scheme: dark){:root{${DARK}}}`;

export const COLORS: {
  readonly text: string;
  readonly faint: string;
  readonly peers: string;
  readonly registry: string;
  readonly systems: readonly string[];
} = {
  text: 'var(--text)',
  faint: 'var(--faint)',
  peers: 'var(--a)',
  registry: 'var(--b)',
  systems: ['var(--a)', 'var(--b)', 'var(--c)', 'var(--d)', 'var(--e)', 'var(--f)'],
};

export function colorOf(index: number): string {
  return COLORS.systems[index % COLORS.systems.length] ?? COLORS.text;
}

export const FONT = 'DejaVu Sans, Verdana, sans-serif';

export const LABEL: { readonly color: string; readonly fontFamily: string } = {
  color: COLORS.text,
  fontFamily: FONT,
};

export interface Axis {
  readonly type: 'value';
  readonly name: string;
  readonly nameTextStyle: typeof LABEL;
  readonly axisLabel: typeof LABEL;
  readonly axisLine: { readonly lineStyle: { readonly color: string } };
  readonly splitLine: { readonly lineStyle: { readonly color: string } };
}

export function axis(name: string): Axis {
  return {
    type: 'value',
    name,
    nameTextStyle: LABEL,
    axisLabel: LABEL,
    axisLine: { lineStyle: { color: COLORS.text } },
    splitLine: { lineStyle: { color: COLORS.faint } },
  };
}
