// Points of a map as ECharts draws them: a series for each group, and a ring around the marked one.

import { color, GROUPS, REST, STEPS } from "./charts.js";

const MOST = 256; // groups that a byte tells apart

export function unpack(buffer) {
  const [n, total] = new Uint32Array(buffer, 0, 2);
  return {
    n,
    total,
    x: new Float32Array(buffer, 8, n),
    y: new Float32Array(buffer, 8 + 4 * n, n),
    row: new Uint32Array(buffer, 8 + 8 * n, n),
    group: new Uint8Array(buffer, 8 + 12 * n, n),
  };
}

// The color of each group: steps of a number go from dark to bright, what is left over is gray.
export function tones(labels, ordered) {
  const left = ["others", "unknown"].includes(labels.at(-1)) ? labels.length - 1 : labels.length;
  const step = (group) => Math.round((group * (STEPS.length - 1)) / Math.max(1, left - 1));
  return (group) => {
    if (labels.length && group >= left) return REST;
    return ordered ? STEPS[step(group)] : GROUPS[group % GROUPS.length];
  };
}

// The series, and by their ids the rows of their points.
export function seriesOf(points, tone) {
  const sizes = new Uint32Array(MOST);
  for (const group of points.group) sizes[group]++;
  const data = Array.from(sizes, (size) => new Float32Array(2 * size));
  const own = Array.from(sizes, (size) => new Uint32Array(size));
  const filled = new Uint32Array(MOST);
  for (let at = 0; at < points.n; at++) {
    const group = points.group[at];
    const place = filled[group]++;
    data[group][2 * place] = points.x[at];
    data[group][2 * place + 1] = points.y[at];
    own[group][place] = points.row[at];
  }
  const id = (group) => `group ${group}`;
  const symbolSize = points.n > 8000 ? 3 : points.n > 2000 ? 4.5 : points.n > 300 ? 6.5 : 9;
  const series = data
    .map((each, group) => ({
      id: id(group),
      type: "scatter",
      large: true,
      largeThreshold: 0,
      dimensions: ["x", "y"],
      data: each,
      symbolSize,
      itemStyle: { color: tone(group), opacity: 0.75 },
    }))
    .filter((each) => each.data.length); // a large series draws no empty one
  return { series, rows: Object.fromEntries(own.map((each, group) => [id(group), each])) };
}

// Braces would be read as styles.
export const plainText = (text) => String(text).replaceAll("{", "(").replaceAll("}", ")");

export const ring = (marked) => ({
  id: "marked",
  type: "scatter",
  z: 9,
  symbolSize: 20,
  data: marked?.at ? [{ value: marked.at, name: plainText(marked.title) }] : [],
  cursor: "default",
  itemStyle: { color: "transparent", borderColor: color("bad"), borderWidth: 3 },
  label: {
    show: true,
    position: "top",
    distance: 8,
    color: color("text"),
    fontWeight: 600,
    formatter: ({ name }) => name,
    textBorderColor: color("card"),
    textBorderWidth: 3,
    width: 260,
    overflow: "truncate",
  },
});

const side = (min, max) => ({
  type: "value",
  min,
  max,
  axisLine: { show: false },
  axisTick: { show: false },
  axisLabel: { show: false },
});
const zoom = (axis) => ({
  type: "inside",
  [axis]: 0,
  filterMode: "none",
  minSpan: 0.01,
  throttle: 40,
});

export const frame = ([x0, x1, y0, y1], tip) => ({
  animation: false,
  grid: { left: 0, right: 0, top: 0, bottom: 0 },
  xAxis: side(x0, x1),
  yAxis: side(y0, y1),
  dataZoom: [zoom("xAxisIndex"), zoom("yAxisIndex")],
  tooltip: { trigger: "item", renderMode: "richText", confine: true, formatter: tip },
});

export const frameColors = () => ({
  tooltip: {
    backgroundColor: color("card"),
    borderColor: color("line"),
    textStyle: {
      color: color("text"),
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 13,
    },
  },
  xAxis: { splitLine: { lineStyle: { color: color("faint") } } },
  yAxis: { splitLine: { lineStyle: { color: color("faint") } } },
});
