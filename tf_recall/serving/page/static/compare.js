// Two versions side by side: what each recommends to the same user, and their figures.

import { ask } from "./ask.js";
import { current, find, label, of, store } from "./store.js";
import { ResultList } from "./list.js";
import { figuresOf, isFigure, shown } from "./metrics.js";
import { wanted, Who } from "./who.js";

const same = (a, b) => a && b && a.model === b.model && a.version === b.version;

export const Compare = {
  components: { Who, ResultList },
  setup() {
    const state = Vue.reactive({
      other: null,
      left: null,
      right: null,
      figures: [null, null],
      problem: "",
    });
    const others = Vue.computed(() =>
      store.models
        .filter((each) => !same(each, current.value))
        .map((each) => ({ label: label(each), value: label(each), version: each })),
    );
    const other = Vue.computed(
      () => (others.value.find((each) => each.value === state.other) ?? preferred())?.version,
    );
    const preferred = () =>
      others.value.find((each) => each.version.model === current.value.model) ?? others.value[0];
    const requests = Vue.computed(() =>
      [current.value, other.value].map((each) => {
        const given = each && each.recommends && wanted(each);
        return given &&
          (given.user_id != null || given.history || Object.keys(given.context).length)
          ? given
          : null;
      }),
    );
    const shared = Vue.computed(() => {
      const right = new Set((state.right ?? []).map((each) => String(each.item_id)));
      return new Set(
        (state.left ?? []).map((each) => each.item_id).filter((id) => right.has(String(id))),
      );
    });
    const both = Vue.computed(() => {
      const [left, right, num] = [
        state.left?.length ?? 0,
        state.right?.length ?? 0,
        shared.value.size,
      ];
      const all = left + right - num;
      return all ? { num, of: Math.max(left, right), share: num / all } : null;
    });
    async function load() {
      state.problem = "";
      try {
        const versions = [current.value, other.value].filter(Boolean);
        state.figures = await Promise.all(
          versions.map((each) => ask("ui/api/metrics", { query: of(each) })),
        );
      } catch (error) {
        state.figures = [null, null];
        state.problem = error.message;
      }
    }
    Vue.watch(
      () => [current.value, other.value].map((each) => each && label(each)).join("\n"),
      load,
      { immediate: true },
    );
    const lines = Vue.computed(() => {
      const [left, right] = state.figures.map(figuresOf);
      const names = Object.keys({ ...left, ...right }).filter((name) =>
        isFigure(left[name] ?? right[name]),
      );
      return names.map((name) => ({
        name,
        left: left[name],
        right: right[name],
        change: left[name] != null && right[name] != null ? right[name] - left[name] : null,
      }));
    });
    const signed = (value) => (value == null ? "–" : `${value > 0 ? "+" : ""}${shown(value)}`);
    return {
      store,
      current,
      state,
      others,
      other,
      requests,
      shared,
      both,
      lines,
      label,
      shown,
      signed,
    };
  },
  template: `
    <section v-if="!other" class="card"><div class="empty" style="padding: 72px 24px">
      Only one version is served, so there is nothing to compare it with. A <code>model_version_policy { all {} }</code> in <code>models.config</code> serves all versions of a model.
    </div></section>
    <div v-else class="cols">
      <Who :version="current" plain />
      <div class="stack main">
        <section class="card"><div class="body row items-center q-gutter-md" style="padding-top: 12px">
          <div><span class="note">Left</span><br><b>{{ label(current) }}</b></div>
          <q-select outlined dense :model-value="label(other)" @update:model-value="state.other = $event" :options="others" emit-value label="Right" style="min-width: 260px" behavior="menu" />
          <div v-if="both" class="q-ml-auto" role="status"><b>{{ both.num }} of {{ both.of }}</b> items are in both lists <span class="dot" aria-hidden="true">●</span> <span class="note">({{ Math.round(100 * both.share) }} % of all shown)</span></div>
        </div></section>
        <div class="lists halves" v-if="requests[0] || requests[1]">
          <template v-for="(side, at) in ['left', 'right']" :key="side">
            <ResultList v-if="requests[at]" :title="label(at ? other : current)" :version="at ? other : current" path="recommend" :request="{...requests[at], explain: false}" :shared="shared" @loaded="state[side] = $event" />
            <section v-else class="card"><header><h2>{{ label(at ? other : current) }}</h2></header><div class="empty">This version cannot answer what is asked: it takes no history, or no users.</div></section>
          </template>
        </div>
        <section v-else class="card"><div class="empty">Pick a user, or fill a basket, to see both lists.</div></section>
        <section class="card" aria-label="Figures"><header><h2>Figures</h2></header>
          <div class="body scroll">
            <div v-if="state.problem" class="problem" role="alert">{{ state.problem }}</div>
            <table v-if="lines.length" class="plain">
              <thead><tr><th scope="col">Figure</th><th scope="col">{{ label(current) }}</th><th scope="col">{{ label(other) }}</th><th scope="col">Right less left</th></tr></thead>
              <tbody><tr v-for="each in lines" :key="each.name"><td>{{ each.name }}</td><td>{{ shown(each.left) }}</td><td>{{ shown(each.right) }}</td><td :class="each.change > 0 ? 'up' : each.change < 0 ? 'down' : ''">{{ signed(each.change) }}</td></tr></tbody>
            </table>
            <div v-else class="empty">Neither was exported with figures.</div>
            <div v-if="lines.length" class="note q-mt-sm">Figures compare only where both were measured on the same cases.</div>
          </div>
        </section>
      </div>
    </div>`,
};
