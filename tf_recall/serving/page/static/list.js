// A list of recommended items: asked for, and shown with scores and reasons.

import { ask, latest } from "./ask.js";
import { fetchTitles, keepTitle, of, store, titleOf } from "./store.js";
import { throughRows } from "./shortcuts.js";

const reasonIds = (why) =>
  (why ?? []).flatMap((each) =>
    each.reasons ? reasonIds(each.reasons) : each.kind === "item" ? [each.id] : [],
  );

// Reasons in lines: of a merge one for each channel.
const linesOf = (why) =>
  !why?.length
    ? []
    : why[0].channel
      ? why.filter((each) => each.reasons.length)
      : [{ channel: "", reasons: why }];

const WhyLine = {
  props: { line: Object, version: Object },
  setup(props) {
    const name = (each) =>
      (each.kind === "item" ? titleOf(props.version, each.id) : null) ??
      each.id ??
      `being ${each.kind}`;
    const kind = (each) => (each.kind === "item" || each.id == null ? "" : `${each.kind} `);
    // of hundreds of reasons each is a small one, and the first is still the first
    const share = (each) => (each.share < 0.02 ? "" : ` ${Math.round(100 * each.share)}\u00a0%`);
    return { name, kind, share };
  },
  template: `
    <span class="why"><template v-if="line.channel">{{ line.channel }}{{ line.rank ? " has it at " + line.rank : "" }}</template><template
      v-if="line.channel && line.reasons.length">, </template><template v-if="line.reasons.length">because of <template
      v-for="(each, at) in line.reasons" :key="at"><template v-if="at">, </template>{{ kind(each) }}<b>{{ name(each) }}</b>{{ share(each) }}</template></template></span>`,
};

export const ResultList = {
  components: { WhyLine },
  props: {
    title: String,
    note: String,
    version: Object,
    path: String,
    request: Object,
    shared: Set,
    two: Boolean,
  },
  emits: ["loaded"],
  setup(props, { emit }) {
    const state = Vue.reactive({ items: null, unknown: {}, problem: "", busy: false });
    const last = latest();
    async function load() {
      state.busy = true;
      state.problem = "";
      const version = props.version;
      const columns = version.title ? [version.title] : [];
      try {
        const body = { ...of(version), ...props.request, columns };
        const found = await last((signal) => ask(props.path, { body, signal }));
        for (const each of found.items)
          keepTitle(version, each.item_id, each.columns?.[version.title]);
        const ids = found.items.flatMap((each) => reasonIds(each.why));
        await fetchTitles(version, ids).catch(() => {});
        state.items = found.items;
        state.unknown = found.unknown;
        emit("loaded", found.items);
      } catch (error) {
        state.items = null;
        state.problem = error.message;
        emit("loaded", null);
      }
      state.busy = false;
    }
    Vue.watch(
      () =>
        JSON.stringify([of(props.version), props.path, props.request], (_, v) =>
          typeof v === "bigint" ? String(v) : v,
        ),
      load,
      { immediate: true },
    );
    const scores = Vue.computed(() => (state.items ?? []).map((each) => each.score));
    const width = (score) => {
      const [low, high] = [Math.min(...scores.value, 0), Math.max(...scores.value)];
      return high > low ? `${Math.max(2, (100 * (score - low)) / (high - low))}%` : "100%";
    };
    const shown = (score) =>
      Math.abs(score) >= 1000
        ? score.toFixed(0)
        : Math.abs(score) >= 0.001 || !score
          ? score.toFixed(3)
          : score.toExponential(1);
    const name = (each) => titleOf(props.version, each.item_id) ?? each.item_id;
    const hasTitle = (each) => titleOf(props.version, each.item_id) != null;
    const open = (each) => (store.item = { id: each.item_id, version: props.version });
    const strangers = Vue.computed(() =>
      Object.entries(state.unknown).map(
        ([what, ids]) => `${what === "user_id" ? "user" : what}: ${ids.join(", ")}`,
      ),
    );
    return { state, width, shown, name, hasTitle, open, throughRows, strangers, linesOf };
  },
  template: `
    <section class="card" :class="{wide: two}" :aria-label="title" :aria-busy="state.busy">
      <header><h2>{{ title }}</h2><span class="note">{{ note }}</span></header>
      <q-linear-progress v-if="state.busy" indeterminate size="2px" color="primary" />
      <div v-if="state.problem" class="body"><div class="problem" role="alert">{{ state.problem }}</div></div>
      <div v-if="strangers.length && !state.problem" class="body note">Unknown to this model: {{ strangers.join("; ") }}</div>
      <div v-if="state.items && !state.items.length && !state.problem" class="empty">Nothing is left to recommend here.</div>
      <ol v-if="state.items && state.items.length" class="rows" :class="{two}" @keydown="throughRows">
        <li v-for="(each, at) in state.items" :key="String(each.item_id)">
          <button type="button" class="row-item" :class="{shared: shared && shared.has(each.item_id)}" @click="open(each)">
            <span class="rank">{{ at + 1 }}</span>
            <span class="name">{{ name(each) }}</span>
            <span class="score">{{ shown(each.score) }}</span>
            <span class="bar" aria-hidden="true"><i :style="{width: width(each.score)}"></i></span>
            <span class="sub" v-if="hasTitle(each) || each.ranks">
              <span v-if="hasTitle(each)" class="id">{{ each.item_id }}</span>
              <span v-for="(rank, channel) in each.ranks" :key="channel" class="chip">{{ channel }} {{ rank }}</span>
            </span>
            <WhyLine v-for="(line, nth) in linesOf(each.why)" :key="nth" :line="line" :version="version" />
          </button>
        </li>
      </ol>
      <div v-if="!state.items && state.busy" class="empty">Asking…</div>
    </section>`,
};
