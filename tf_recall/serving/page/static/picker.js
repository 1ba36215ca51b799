// A field that searches on the server while one types, and takes what is typed as well.

import { ask, latest } from "./ask.js";
import { keepTitle, of } from "./store.js";
import icons from "./icons.js";

export const Picker = {
  props: {
    modelValue: null,
    label: String,
    hint: String,
    path: String,
    version: Object,
    free: Boolean,
    clears: Boolean,
    search: Boolean,
  },
  emits: ["update:modelValue", "pick"],
  setup(props, { emit }) {
    const state = Vue.reactive({ options: [], note: "", text: "" });
    const field = Vue.ref(null);
    const last = latest();
    const option = (each) => ({
      value: each.id,
      label: each.title ?? String(each.id),
      note:
        each.title != null ? String(each.id) : each.events != null ? `${each.events} events` : "",
    });
    async function search(text) {
      const found = await last((signal) =>
        ask(props.path, { query: { ...of(props.version), q: text }, signal }),
      );
      found.found.forEach((each) => keepTitle(props.version, each.id, each.title));
      return { ...found, options: found.found.map(option) };
    }
    async function filter(text, update) {
      try {
        const found = await search(text);
        update(() => {
          state.text = text;
          state.options = found.options;
          const more = found.total - found.found.length;
          state.note =
            found.known === false
              ? "This export was written without its users: type an id, then Enter."
              : more > 0
                ? `and ${more.toLocaleString("en")} more: type to narrow`
                : "";
        });
      } catch (error) {
        update(() => {
          state.options = [];
          state.note = error.message;
        });
      }
    }
    function pick(value) {
      emit("pick", value);
      if (props.clears) Vue.nextTick(() => field.value.updateInputValue("", true));
      else emit("update:modelValue", value?.value ?? null);
    }
    // Enter takes what is typed, or the best that is found: of this text, not of the one before.
    async function typed(text, done) {
      const value = text.trim();
      if (!value) return;
      if (props.free) return done({ value, label: value, note: "" }, "toggle");
      const options = state.text === text ? state.options : (await search(text)).options;
      const chosen = options.find((each) => String(each.value) === value) ?? options[0];
      if (chosen) done(chosen, "toggle");
    }
    const shown = Vue.computed(() =>
      props.clears || props.modelValue == null || props.modelValue === ""
        ? null
        : { value: props.modelValue, label: String(props.modelValue) },
    );
    return { field, state, filter, pick, typed, shown, icons };
  },
  template: `
    <q-select ref="field" outlined dense use-input hide-selected fill-input input-debounce="150" :clearable="!clears" :label="label" :hint="hint"
      :model-value="shown" :options="state.options" option-label="label" @filter="filter" @new-value="typed" @update:model-value="pick"
      :data-search="search ? '' : null" behavior="menu" :hide-bottom-space="!hint" :aria-label="label">
      <template #prepend><q-icon :name="icons.search" size="20px" /></template>
      <template #option="{ itemProps, opt }">
        <q-item v-bind="itemProps" dense>
          <q-item-section><q-item-label lines="1">{{ opt.label }}</q-item-label></q-item-section>
          <q-item-section side><q-item-label caption class="id">{{ opt.note }}</q-item-label></q-item-section>
        </q-item>
      </template>
      <template #after-options><div v-if="state.note" class="note q-pa-sm q-px-md">{{ state.note }}</div></template>
      <template #no-option><div class="note q-pa-md">{{ state.note || (free && state.text ? "Nothing has this in its id. Enter takes it as it is." : "Nothing is found.") }}</div></template>
    </q-select>`,
};
