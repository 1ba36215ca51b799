// A map of the items: the server sends the points of the window, and more of them as one zooms.

import { ask, askBytes, latest } from "./ask.js";
import { library } from "./charts.js";
import { current, keepTitle, of, store } from "./store.js";
import { Picker } from "./picker.js";
import { frame, frameColors, plainText, ring, seriesOf, tones, unpack } from "./points.js";
import icons from "./icons.js";

const WAIT = 400; // milliseconds between looks at a map that is being drawn
const CALM = 120; // after the last move of a window

export const ItemMap = {
  components: { Picker },
  setup() {
    const root = Vue.ref(null);
    const state = Vue.reactive({
      share: 0,
      about: null,
      problem: "",
      by: "",
      labels: [],
      ordered: false,
      shown: 0,
      total: 0,
      note: "",
    });
    const last = latest();
    const names = new Map();
    let chart,
      watcher,
      points,
      rows,
      home,
      timer,
      generation = 0;

    async function begin() {
      const own = ++generation;
      Object.assign(state, { share: 0, about: null, problem: "", labels: [] });
      names.clear();
      try {
        while (own === generation) {
          const about = await ask("ui/api/map", { query: of(current.value) });
          if (own !== generation) return;
          state.share = about.share;
          if (about.bounds) {
            state.about = about;
            break;
          }
          await new Promise((done) => setTimeout(done, WAIT));
        }
        if (own !== generation) return;
        if (!state.about.columns.includes(state.by)) state.by = state.about.columns[0] ?? "";
        const [x0, x1, y0, y1] = state.about.bounds;
        const [dx, dy] = [0.04 * (x1 - x0) || 1, 0.04 * (y1 - y0) || 1];
        home = [x0 - dx, x1 + dx, y0 - dy, y1 + dy];
        await Vue.nextTick();
        await makeChart();
        await recolor();
        if (store.marked) await mark({ value: store.marked.id });
      } catch (error) {
        if (own === generation) state.problem = error.message;
      }
    }

    async function makeChart() {
      const echarts = await library();
      chart?.dispose();
      watcher?.disconnect();
      chart = echarts.init(root.value);
      watcher = new ResizeObserver(() => chart.resize());
      watcher.observe(root.value);
      chart.setOption(frame(home, tip));
      chart.on("datazoom", () => {
        clearTimeout(timer);
        timer = setTimeout(fetchPoints, CALM);
      });
      chart.on("click", (event) => {
        const row = rowOf(event);
        if (row != null) open(row);
      });
    }

    const rowOf = (event) => rows?.[event.seriesId]?.[event.dataIndex];
    function tip(event, ticket, callback) {
      const row = rowOf(event);
      if (row == null) return event.name || "";
      if (!names.has(row))
        told(row)
          .then((text) => callback(ticket, text))
          .catch(() => {});
      return names.get(row) ?? "…";
    }
    async function told(row) {
      const found = await ask("ui/api/map/item", { query: { ...of(current.value), row } });
      keepTitle(current.value, found.id, found.title);
      const text = found.title != null ? `${found.title}\n${found.id}` : String(found.id);
      if (names.size > 5000) names.clear();
      names.set(row, plainText(text));
      return names.get(row);
    }
    async function open(row) {
      try {
        const found = await ask("ui/api/map/item", { query: { ...of(current.value), row } });
        keepTitle(current.value, found.id, found.title);
        store.item = { id: found.id, version: current.value };
      } catch (error) {
        state.problem = error.message;
      }
    }

    function seen() {
      const [width, height] = [chart.getWidth(), chart.getHeight()];
      const [x0, y1] = chart.convertFromPixel({ gridIndex: 0 }, [0, 0]);
      const [x1, y0] = chart.convertFromPixel({ gridIndex: 0 }, [width, height]);
      return [x0, x1, y0, y1];
    }
    async function fetchPoints() {
      const [x0, x1, y0, y1] = seen();
      const [dx, dy] = [0.1 * (x1 - x0), 0.1 * (y1 - y0)];
      const query = {
        ...of(current.value),
        x0: x0 - dx,
        x1: x1 + dx,
        y0: y0 - dy,
        y1: y1 + dy,
        color: state.by,
      };
      try {
        points = unpack(await last((signal) => askBytes("ui/api/map/points", { query, signal })));
      } catch (error) {
        state.problem = error.message;
        return;
      }
      state.problem = "";
      state.shown = points.n;
      state.total = points.total;
      paint();
    }
    function paint() {
      if (!points || !chart) return;
      const made = seriesOf(points, tone.value);
      rows = made.rows;
      const series = [...made.series, ring(store.marked)];
      chart.setOption({ ...frameColors(), series }, { replaceMerge: ["series"] });
    }
    const tone = Vue.computed(() => tones(state.labels, state.ordered));

    async function recolor() {
      try {
        const found = state.by
          ? await ask("ui/api/map/colors", { query: { ...of(current.value), by: state.by } })
          : { labels: [], ordered: false };
        Object.assign(state, found);
        await fetchPoints();
      } catch (error) {
        state.problem = error.message;
      }
    }

    function look(x0, x1, y0, y1) {
      chart.dispatchAction({
        type: "dataZoom",
        batch: [
          { dataZoomIndex: 0, startValue: x0, endValue: x1 },
          { dataZoomIndex: 1, startValue: y0, endValue: y1 },
        ],
      });
    }
    function move(scale, right = 0, up = 0) {
      if (!chart) return;
      const [x0, x1, y0, y1] = seen();
      const [w, h] = [(x1 - x0) * scale, (y1 - y0) * scale];
      const [x, y] = [(x0 + x1) / 2 + right * (x1 - x0), (y0 + y1) / 2 + up * (y1 - y0)];
      look(
        Math.max(home[0], x - w / 2),
        Math.min(home[1], x + w / 2),
        Math.max(home[2], y - h / 2),
        Math.min(home[3], y + h / 2),
      );
    }
    const reset = () => chart && look(...home);
    const KEYS = {
      "+": [0.6],
      "=": [0.6],
      "-": [1.6],
      ArrowLeft: [1, -0.2],
      ArrowRight: [1, 0.2],
      ArrowUp: [1, 0, 0.2],
      ArrowDown: [1, 0, -0.2],
    };
    function keyed(event) {
      if (event.key === "0") reset();
      else if (KEYS[event.key]) move(...KEYS[event.key]);
      else return;
      event.preventDefault();
    }

    async function mark(option) {
      state.note = "";
      if (!option) return unmark();
      try {
        const found = await ask("ui/api/item", {
          query: { ...of(current.value), id: option.value },
        });
        const title = found.title ?? String(option.value);
        store.marked = { id: option.value, title, at: found.at ?? null };
        if (!found.at) state.note = `${title} has no place on this map.`;
        else {
          const [x, y] = found.at;
          const [w, h] = [0.12 * (home[1] - home[0]), 0.12 * (home[3] - home[2])];
          look(
            Math.max(home[0], x - w),
            Math.min(home[1], x + w),
            Math.max(home[2], y - h),
            Math.min(home[3], y + h),
          );
          paint();
        }
      } catch (error) {
        state.problem = error.message;
      }
    }
    function unmark() {
      store.marked = null;
      paint();
    }

    Vue.watch(() => [current.value.model, current.value.version], begin, { immediate: true });
    Vue.watch(
      () => Quasar.Dark.isActive,
      () => Vue.nextTick(paint),
    );
    Vue.onBeforeUnmount(() => {
      generation++;
      clearTimeout(timer);
      watcher?.disconnect();
      chart?.dispose();
    });
    return { root, state, store, current, recolor, move, reset, keyed, mark, unmark, tone, icons };
  },
  template: `
    <section class="card" aria-label="Map of the items">
      <div class="map-tools">
        <Picker label="Mark an item" path="ui/api/items" :version="current" clears search @pick="mark" />
        <q-select v-if="state.about && state.about.columns.length" outlined dense label="Colored by" v-model="state.by" :options="state.about.columns" @update:model-value="recolor" style="width: 190px" behavior="menu" />
        <q-chip v-if="store.marked" removable :icon-remove="icons.close" :remove-aria-label="'Unmark ' + store.marked.title" @remove="unmark" color="primary" text-color="white" :label="String(store.marked.title)" style="max-width: 260px" />
        <span v-if="state.about" class="note q-ml-auto" role="status">{{ state.shown.toLocaleString("en") }} of {{ state.total.toLocaleString("en") }} items here{{ state.shown < state.total ? "; zoom in for more" : "" }}</span>
      </div>
      <div v-if="state.note" class="note q-px-md q-pt-sm">{{ state.note }}</div>
      <div v-if="state.problem" class="body"><div class="problem" role="alert">{{ state.problem }}</div></div>
      <div v-if="!state.about && !state.problem" class="empty" style="padding: 90px 24px" role="status">
        The map is being drawn, once for this version… {{ Math.round(100 * state.share) }} %
        <q-linear-progress :value="state.share" color="primary" rounded class="q-mt-md" style="max-width: 320px; margin-inline: auto" />
      </div>
      <div v-if="state.about" class="map-box">
        <div class="map-zoom">
          <q-btn dense flat :icon="icons.add" aria-label="Zoom in" @click="move(0.6)" /><q-btn dense flat :icon="icons.remove" aria-label="Zoom out" @click="move(1.6)" /><q-btn dense flat :icon="icons.home" aria-label="Show all" @click="reset" />
        </div>
        <div ref="root" class="canvas" tabindex="0" role="application" aria-label="Map of the items: plus, minus and arrows move it, 0 shows all" @keydown="keyed"></div>
      </div>
      <div v-if="state.about && state.labels.length" class="legend" aria-label="Colors"><span v-for="(each, at) in state.labels" :key="at"><i :style="{background: tone(at)}"></i>{{ each }}</span></div>
    </section>
    <p class="note q-mt-sm">Items that lie close have vectors that are alike in the two directions in which vectors differ most; close by does not mean close in all of them. A click opens an item.</p>`,
};
