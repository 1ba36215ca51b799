// One item: what is known of it, and what is like it.

import { ask, latest } from "./ask.js";
import { keepTitle, of, store, titleOf } from "./store.js";
import { ResultList } from "./list.js";
import icons from "./icons.js";

export const ItemDialog = {
  components: { ResultList },
  setup() {
    const state = Vue.reactive({ told: null, problem: "", channel: "" });
    const last = latest();
    const version = Vue.computed(() => store.item?.version);
    const ways = Vue.computed(() => {
      if (!version.value) return [];
      const channels = version.value.channels.filter((each) => each.similar);
      return [...(version.value.similar ? [{ name: "", k: version.value.k }] : []), ...channels];
    });
    async function load() {
      if (!store.item) return;
      state.problem = "";
      state.told = null;
      if (!ways.value.some((each) => each.name === state.channel))
        state.channel = ways.value[0]?.name ?? "";
      try {
        const { id } = store.item;
        state.told = await last((signal) =>
          ask("ui/api/item", { query: { ...of(version.value), id }, signal }),
        );
        keepTitle(version.value, state.told.id, state.told.title);
      } catch (error) {
        state.problem = error.message;
      }
    }
    Vue.watch(() => store.item, load);
    const title = Vue.computed(
      () =>
        store.item &&
        (state.told?.title ?? titleOf(version.value, store.item.id) ?? String(store.item.id)),
    );
    const facts = Vue.computed(() =>
      Object.entries(state.told?.columns ?? {}).filter(([name]) => name !== version.value.title),
    );
    const shown = (value) =>
      Array.isArray(value)
        ? value.join(", ")
        : typeof value === "string"
          ? value.replaceAll("|", ", ")
          : typeof value === "number" && !Number.isInteger(value)
            ? value.toPrecision(5)
            : String(value);
    const request = Vue.computed(() => {
      const way = ways.value.find((each) => each.name === state.channel) ?? ways.value[0];
      return {
        item_id: store.item.id,
        k: Math.min(10, way.k),
        ...(way.name ? { channel: way.name } : {}),
      };
    });
    const inBasket = Vue.computed(() => store.basket.some((each) => each.id === store.item?.id));
    function toBasket() {
      store.basket.push({ id: store.item.id, title: title.value });
      Quasar.Notify.create({
        message: `${title.value} is in the basket.`,
        timeout: 2000,
        position: "bottom-left",
      });
    }
    function onMap() {
      store.marked = { id: store.item.id, title: title.value };
      store.view = "map";
      store.item = null;
    }
    const close = () => (store.item = null);
    return {
      store,
      state,
      version,
      ways,
      title,
      facts,
      shown,
      request,
      inBasket,
      toBasket,
      onMap,
      close,
      icons,
    };
  },
  template: `
    <q-dialog :model-value="!!store.item" @update:model-value="close" position="right" maximized aria-labelledby="item-title">
      <div v-if="store.item" class="card item-panel">
        <header role="presentation">
          <div><h2 id="item-title">{{ title }}</h2><span v-if="title !== String(store.item.id)" class="note id">{{ store.item.id }}</span></div>
          <q-btn flat round dense class="q-ml-auto" :icon="icons.close" aria-label="Close" @click="close" />
        </header>
        <div class="body fields">
          <div v-if="state.problem" class="problem" role="alert">{{ state.problem }}</div>
          <div v-if="state.told && !state.told.known" class="note">This model does not know the item.</div>
          <dl v-if="facts.length || (state.told && state.told.events != null)" class="facts">
            <template v-for="[name, value] in facts" :key="name"><dt>{{ name }}</dt><dd>{{ shown(value) }}</dd></template>
            <template v-if="state.told.events != null"><dt>Interactions</dt><dd>{{ state.told.events.toLocaleString("en") }} in training</dd></template>
          </dl>
          <div class="row q-gutter-x-sm">
            <q-btn outline color="primary" dense class="q-px-md" :icon="icons.basket" :label="inBasket ? 'In the basket' : 'Into the basket'" :disable="inBasket" @click="toBasket" />
            <q-btn outline color="primary" dense class="q-px-md" :icon="icons.place" label="On the map" @click="onMap" />
          </div>
          <q-tabs v-if="ways.length > 1" v-model="state.channel" dense no-caps align="left" active-color="primary" indicator-color="primary" inline-label outside-arrows>
            <q-tab v-for="each in ways" :key="each.name" :name="each.name" :label="each.name || 'the model'" />
          </q-tabs>
          <ResultList v-if="ways.length" title="More like this" :note="state.channel" :version="version" path="similar" :request="request" />
          <div v-else class="note">This model does not say which items are alike.</div>
        </div>
      </div>
    </q-dialog>`,
};
