// How good a version is: its figures beside popularity's, slices of them, and its channels.

import { ask, latest } from "./ask.js";
import { axis, Chart, color } from "./charts.js";
import { current, of } from "./store.js";

export const shown = (value) =>
  value == null
    ? "–"
    : typeof value !== "number"
      ? String(value)
      : Number.isInteger(value)
        ? value.toLocaleString("en")
        : Math.abs(value) < 10
          ? value.toFixed(4)
          : value.toFixed(1);
export const figuresOf = (metrics) => metrics?.metrics ?? metrics ?? {};
export const isFigure = (value) => value === null || typeof value === "number";
const words = (name) => name.replaceAll("_", " ");
const WHAT = {
  cold_items: "items without a training interaction",
  cold_users: "users unknown, or of fewer than five events",
  head_items: "the most popular, half of all interactions",
  tail_items: "all other items",
};

const bars = (names, series) => ({
  grid: { left: 8, right: 16, top: 34, bottom: 4, containLabel: true },
  legend: { top: 0, left: 0, textStyle: { color: color("soft") }, itemWidth: 12, itemHeight: 12 },
  tooltip: {
    trigger: "axis",
    renderMode: "richText",
    backgroundColor: color("card"),
    borderColor: color("line"),
    textStyle: { color: color("text") },
    axisPointer: { type: "shadow" },
    valueFormatter: shown,
  },
  xAxis: {
    type: "category",
    data: names,
    ...axis(),
    axisLabel: { color: color("soft"), interval: 0, rotate: names.length > 6 ? 32 : 0 },
  },
  yAxis: { type: "value", ...axis() },
  series: series.map(([name, data, tone]) => ({
    name,
    data,
    type: "bar",
    barMaxWidth: 28,
    itemStyle: { color: tone, borderRadius: [3, 3, 0, 0] },
  })),
});

export const Metrics = {
  components: { Chart },
  setup() {
    const state = Vue.reactive({ metrics: null, problem: "", busy: false });
    const last = latest();
    async function load() {
      state.busy = true;
      state.problem = "";
      try {
        state.metrics = await last((signal) =>
          ask("ui/api/metrics", { query: of(current.value), signal }),
        );
      } catch (error) {
        state.metrics = null;
        state.problem = error.message;
      }
      state.busy = false;
    }
    Vue.watch(() => [current.value.model, current.value.version], load, { immediate: true });
    const figures = Vue.computed(() =>
      Object.entries(figuresOf(state.metrics)).filter(([, value]) => isFigure(value)),
    );
    const baseline = Vue.computed(() => state.metrics?.baseline ?? {});
    const counts = Vue.computed(() => Object.entries(state.metrics?.counts ?? {}));
    const slices = Vue.computed(() => Object.entries(state.metrics?.slices ?? {}));
    const channels = Vue.computed(() => Object.entries(state.metrics?.channels?.lines ?? {}));
    const findings = Vue.computed(() => state.metrics?.findings ?? []);
    const best = Vue.computed(
      () => figures.value.find(([name]) => name.startsWith("recall@"))?.[0],
    );
    const headline = Vue.computed(() =>
      figures.value.filter(([, value]) => value !== null).slice(0, 6),
    );
    const beside = ([name, value]) =>
      baseline.value[name] > 0 && value != null
        ? `${(value / baseline.value[name]).toFixed(1)} × popularity`
        : "";
    const plots = Vue.computed(() => {
      const short = figures.value.filter(
        ([name, value]) => value !== null && value <= 1 && name.includes("@"),
      );
      const k = best.value?.split("@")[1];
      const made = [];
      const besidePopularity = (title, some, named = (name) => name) => {
        if (!some.length) return;
        const beside = some.map(([name]) => baseline.value[name]);
        const series = [
          ["this version", some.map(([, value]) => value), "accent"],
          ...(beside.some((each) => each != null) ? [["popularity", beside, "soft"]] : []),
        ];
        made.push({ title, names: some.map(([name]) => named(name)), series });
      };
      besidePopularity(
        "Recall by the length of the list",
        short.filter(([name]) => name.startsWith("recall@")),
      );
      besidePopularity(
        `Figures of lists of ${k}`,
        short.filter(([name]) => name.endsWith(`@${k}`) && !/^(recall|gini)@/.test(name)),
        (name) => words(name.split("@")[0]),
      );
      if (slices.value.length && best.value) {
        const take = (side) => slices.value.map(([, each]) => each[side]?.[best.value] ?? null);
        made.push({
          title: `${best.value} by slice`,
          names: slices.value.map(([name]) => words(name)),
          series: [
            ["this version", take("metrics"), "accent"],
            ["popularity", take("baseline"), "soft"],
          ],
        });
      }
      if (channels.value.length) {
        const names = channels.value.map(([name]) => name);
        made.push({
          title: `Channels, recall@${state.metrics.channels.k}`,
          names,
          series: [
            ["recall", channels.value.map(([, each]) => each.recall), "accent"],
            ["only this one finds", channels.value.map(([, each]) => each.marginal), "good"],
          ],
        });
      }
      return made.map((each) => ({
        ...each,
        option: () =>
          bars(
            each.names,
            each.series.map(([name, data, tone]) => [name, data, color(tone)]),
          ),
      }));
    });
    return {
      state,
      current,
      figures,
      baseline,
      counts,
      slices,
      findings,
      headline,
      beside,
      plots,
      shown,
      words,
      WHAT,
    };
  },
  template: `
    <div class="stack">
      <div v-if="state.problem" class="problem" role="alert">{{ state.problem }}</div>
      <section v-else-if="state.metrics && !figures.length" class="card"><div class="empty" style="padding: 72px 24px">
        This version was exported without figures: <code>tr.save(..., metrics=report.to_dict())</code> keeps them, and <code>tf-recall train</code> does.
      </div></section>
      <template v-else-if="state.metrics">
        <div class="figures" role="list" aria-label="Figures">
          <div v-for="each in headline" :key="each[0]" class="figure" role="listitem"><span>{{ each[0] }}</span><b>{{ shown(each[1]) }}</b><span>{{ beside(each) || "&nbsp;" }}</span></div>
        </div>
        <div class="lists" style="grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr))">
          <section v-for="each in plots" :key="each.title" class="card" :aria-label="each.title"><header><h2>{{ each.title }}</h2></header><div class="body"><Chart :option="each.option" :about="each.title" /></div></section>
        </div>
        <div class="lists" style="grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr))">
          <section class="card" aria-label="All figures"><header><h2>All figures</h2></header><div class="body scroll"><table class="plain">
            <thead><tr><th scope="col">Figure</th><th scope="col">This version</th><th scope="col">Popularity</th></tr></thead>
            <tbody><tr v-for="[name, value] in figures" :key="name"><td>{{ name }}</td><td>{{ shown(value) }}</td><td>{{ shown(baseline[name]) }}</td></tr></tbody>
          </table></div></section>
          <div class="stack">
            <section v-if="slices.length" class="card" aria-label="Slices"><header><h2>Slices</h2></header><div class="body scroll"><table class="plain">
              <thead><tr><th scope="col">Slice</th><th scope="col">Cases</th><th scope="col">Pairs</th></tr></thead>
              <tbody><tr v-for="[name, each] in slices" :key="name"><td>{{ words(name) }}<div class="note">{{ WHAT[name] }}</div></td><td>{{ shown(each.cases) }}</td><td>{{ shown(each.pairs) }}</td></tr></tbody>
            </table></div></section>
            <section v-if="counts.length" class="card" aria-label="Measured on"><header><h2>Measured on</h2></header><div class="body"><dl class="facts"><template v-for="[name, value] in counts" :key="name"><dt>{{ words(name) }}</dt><dd>{{ shown(value) }}</dd></template></dl></div></section>
            <section v-if="findings.length" class="card" aria-label="What is off"><header><h2>What is off</h2></header><div class="body"><p v-for="(each, at) in findings" :key="at" class="q-mb-sm">{{ each.message ?? each }}</p></div></section>
          </div>
        </div>
      </template>
      <div v-else class="empty">Asking…</div>
    </div>`,
};
