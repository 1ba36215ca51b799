// ECharts, loaded when a view first draws, in the colors of the theme.

let loading;

export function library() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "ui/static/vendor/echarts.common.min.js";
    script.onload = () => done(window.echarts);
    script.onerror = () => failed(new Error("The server did not send the charts."));
    document.head.append(script);
  });
  return loading;
}

export const color = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
export const GROUPS = [
  "#4e79a7",
  "#f28e2b",
  "#59a14f",
  "#e15759",
  "#b07aa1",
  "#2fa8a0",
  "#edc948",
  "#ff7fa0",
  "#9c755f",
  "#7b6fd0",
  "#86bc3c",
];
export const STEPS = [
  "#440154",
  "#46327e",
  "#365c8d",
  "#277f8e",
  "#1fa187",
  "#4ac16d",
  "#a0da39",
  "#fde725",
];
export const REST = "#9aa3ad";

export const axis = () => ({
  axisLine: { lineStyle: { color: color("line") } },
  axisTick: { show: false },
  axisLabel: { color: color("soft") },
  splitLine: { lineStyle: { color: color("line") } },
});

// A chart of an option; `option` is a function, called anew where the theme changes.
export const Chart = {
  props: { option: Function, about: String },
  setup(props) {
    const root = Vue.ref(null);
    const problem = Vue.ref("");
    let chart, watcher;
    const draw = () =>
      chart?.setOption(
        {
          animationDuration: 250,
          textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
          ...props.option(),
        },
        true,
      );
    Vue.onMounted(async () => {
      try {
        const echarts = await library();
        if (!root.value) return;
        chart = echarts.init(root.value);
        watcher = new ResizeObserver(() => chart.resize());
        watcher.observe(root.value);
        draw();
      } catch (error) {
        problem.value = error.message;
      }
    });
    Vue.watch(
      () => [props.option, Quasar.Dark.isActive],
      () => Vue.nextTick(draw),
    );
    Vue.onBeforeUnmount(() => {
      watcher?.disconnect();
      chart?.dispose();
    });
    return { root, problem };
  },
  template: `<div v-if="problem" class="problem" role="alert">{{ problem }}</div><div v-else ref="root" class="chart" role="img" :aria-label="about"></div>`,
};
