/** The charts of a report as SVG, drawn by ECharts without a browser. Same results, same text. */
import { init, use, type ComposeOption } from 'echarts/core';
import { BarChart, LineChart, type BarSeriesOption, type LineSeriesOption } from 'echarts/charts';
import {
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  type GridComponentOption,
  type LegendComponentOption,
  type TitleComponentOption,
} from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';
import { MIB } from '../../src/util/clock.ts';
import { groupResults, medianOf, type Group } from './group.ts';
import type { BenchResult } from './result.ts';
import { completionCurve, registryCurve, sourceBars, type Point } from './series.ts';
import { axis, COLORS, colorOf, LABEL, STYLE } from './theme.ts';

use([BarChart, LineChart, GridComponent, LegendComponent, MarkLineComponent, TitleComponent, SVGRenderer]);

type Option = ComposeOption<
  BarSeriesOption | LineSeriesOption | GridComponentOption | LegendComponentOption | TitleComponentOption
>;

export interface Chart {
  /** Name of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

const WIDTH = 860;
const HEIGHT = 340;
/** Systems of which each node's sources are drawn. */
const MAX_SOURCES = 8;

export function chartsOf(results: readonly BenchResult[]): readonly Chart[] {
  const groups = groupResults(results);
  if (groups.length === 0) return [];
  const charts = [completion(groups), registry(groups)];
  groups.slice(0, MAX_SOURCES).forEach((group, at) => charts.push(sources(group, at)));
  if (new Set(groups.map(({ nodes }) => nodes)).size > 1) charts.unshift(ratios(groups));
  return charts;
}

function completion(groups: readonly Group[]): Chart {
  const bounds = new Set(groups.map(({ typical }) => typical.lower_bound_s));
  const lines = groups.map(({ label, typical }, at) => ({
    ...line(label, completionCurve(typical), at),
    step: 'end' as const,
    ...(at === 0 && { markLine: marks([...bounds].map((bound) => ({ xAxis: bound, name: 'lower bound' }))) }),
  }));
  return draw('completion', 'Nodes that have the whole image', {
    xAxis: axis('seconds'),
    yAxis: { ...axis('% of nodes'), max: 100 },
    series: lines,
  });
}

function registry(groups: readonly Group[]): Chart {
  const size = Math.max(...groups.map(({ typical }) => typical.image_bytes)) / MIB;
  const lines = groups.map(({ label, typical }, at) => ({
    ...line(label, registryCurve(typical), at),
    ...(at === 0 && { markLine: marks([{ yAxis: size, name: 'the image once' }]) }),
  }));
  return draw('registry', 'What has left the registry', {
    xAxis: axis('seconds'),
    yAxis: axis('MiB'),
    series: lines,
  });
}

function ratios(groups: readonly Group[]): Chart {
  const systems = [...new Set(groups.map(({ system }) => system))];
  const lines = systems.map((system, at) => {
    const own = groups.filter((group) => group.system === system).toSorted((a, b) => a.nodes - b.nodes);
    const points = own.map((group): Point => [group.nodes, medianOf(group, (turn) => turn.makespan_ratio)]);
    return Object.assign(line(system, points, at), { showSymbol: true });
  });
  const [first] = lines;
  if (first !== undefined) first.markLine = marks([{ yAxis: 1, name: 'lower bound' }]);
  return draw('ratio', 'Makespan over the lower bound', {
    xAxis: { ...axis('nodes'), type: 'log', min: 'dataMin', max: 'dataMax' },
    yAxis: { ...axis('times'), min: 0.9 },
    series: lines,
  });
}

function sources({ label, typical }: Group, at: number): Chart {
  const bars = sourceBars(typical);
  const bar = (
    name: string,
    color: string,
    height: (bar: (typeof bars)[number]) => number,
  ): BarSeriesOption => ({
    type: 'bar',
    name,
    stack: 'sources',
    barCategoryGap: '10%',
    itemStyle: { color },
    data: bars.map(height),
  });
  const names = bars.map(({ name }) => name);
  return draw(
    `sources-${at + 1}`,
    `Where each node's bytes came from: ${label}, the first ready on the left`,
    {
      xAxis: { ...axis('nodes'), type: 'category', data: names, axisLabel: { show: false } },
      yAxis: axis('MiB'),
      series: [
        bar('registry', COLORS.registry, (each) => each.registry),
        bar('peers', COLORS.peers, (each) => each.peers),
      ],
    },
  );
}

function line(name: string, points: readonly Point[], at: number): LineSeriesOption {
  const color = colorOf(at);
  const dashed = Math.floor(at / COLORS.systems.length) % 2 === 1;
  return {
    type: 'line',
    name,
    data: [...points],
    showSymbol: false,
    itemStyle: { color },
    lineStyle: { color, width: 2, type: dashed ? 'dotted' : 'solid' },
  };
}

function marks(
  data: { readonly xAxis?: number; readonly yAxis?: number; readonly name: string }[],
): NonNullable<LineSeriesOption['markLine']> {
  return {
    symbol: 'none',
    silent: true,
    lineStyle: { color: COLORS.text, type: 'dashed', width: 1.5 },
    label: { ...LABEL, formatter: '{b}', position: 'insideEndTop' },
    data,
  };
}

export interface LineChartWish {
  readonly name: string;
  readonly title: string;
  /** Of the values, over seconds. */
  readonly unit: string;
  readonly lines: readonly { readonly name: string; readonly points: readonly Point[] }[];
  /** Values that are drawn in. */
  readonly marks: readonly { readonly value: number; readonly name: string }[];
}

export function lineChart({ name, title, unit, lines, marks: limits }: LineChartWish): Chart {
  const series = lines.map((each, at) => line(each.name, each.points, at));
  const [first] = series;
  if (first !== undefined && limits.length > 0) {
    first.markLine = marks(limits.map((limit) => ({ yAxis: limit.value, name: limit.name })));
  }
  return draw(name, title, { xAxis: axis('seconds'), yAxis: axis(unit), series });
}

function draw(name: string, title: string, option: Option): Chart {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: 'transparent',
      title: { text: title, left: 8, top: 4, textStyle: { ...LABEL, fontSize: 14, fontWeight: 'bold' } },
      legend: { type: 'plain', top: 30, left: 8, textStyle: LABEL, itemWidth: 18, itemGap: 24, icon: 'rect' },
      grid: { left: 70, right: 80, top: 80, bottom: 40 },
      ...option,
    });
    return { name, title, svg: still(name, chart.renderToSVGString()) };
  } finally {
    chart.dispose(); // its clock would keep the process alive
  }
}

/** Without what serves a pointer; with the colours, and with names that are the same in every run. */
function still(name: string, svg: string): string {
  const bare = svg
    .replace(/<style *><!\[CDATA\[[^\]]*\]\]>\s*<\/style>\s*/, '')
    .replaceAll(/ (?:class|ecmeta_\w+|pointer-events)="[^"]*"/g, '')
    .replaceAll(/\bzr\d+-/g, `${name}-`);
  return bare.replace('>', `><style>${STYLE}</style>`);
}
