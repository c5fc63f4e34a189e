// Turns the variants that docs/tabs.py writes into tabs. The reader's choice applies to every page of the book.
"use strict";

(() => {
  const STORAGE_KEY = "inflight-backend";
  const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  const groups = [];

  // Private windows and file URLs may have no storage. The choice then lasts as long as the page.
  function load() {
    try {
      return localStorage.getItem(STORAGE_KEY);
    } catch {
      return null;
    }
  }

  function save(name) {
    try {
      localStorage.setItem(STORAGE_KEY, name);
    } catch {}
  }

  function element(name, attributes, text = "") {
    const created = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      created.setAttribute(key, value);
    }
    created.textContent = text;
    return created;
  }

  // A group without the chosen tab keeps its selection.
  function select(group, name) {
    if (!group.some(({ panel }) => panel.dataset.tab === name)) {
      return;
    }
    for (const { tab, panel } of group) {
      const isSelected = panel.dataset.tab === name;
      tab.setAttribute("aria-selected", String(isSelected));
      tab.tabIndex = isSelected ? 0 : -1;
      panel.hidden = !isSelected;
    }
  }

  // The other groups of the page change their height. The chosen tab stays where it is in the window.
  function choose(tab, name) {
    const before = tab.getBoundingClientRect().top;
    groups.forEach(group => select(group, name));
    window.scrollBy({ top: tab.getBoundingClientRect().top - before, behavior: "instant" });
    save(name);
  }

  function moveFocus(event, group) {
    const step = KEYS[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    // Without this, mdBook would open the next chapter.
    event.stopPropagation();
    event.preventDefault();
    const current = group.findIndex(({ tab }) => tab === event.target);
    const wanted = Number.isFinite(step) ? (current + step + group.length) % group.length : step < 0 ? 0 : group.length - 1;
    const { tab, panel } = group[wanted];
    choose(tab, panel.dataset.tab);
    tab.focus();
  }

  function build(container, number) {
    const list = element("div", { role: "tablist", "aria-label": "Backend" });
    const group = Array.from(container.querySelectorAll(":scope > .tab"), panel => {
      const name = panel.dataset.tab;
      const [tabId, panelId] = [`tab-${number}-${name}`, `panel-${number}-${name}`];
      const tab = element("button", { type: "button", role: "tab", id: tabId, "aria-controls": panelId }, name);
      tab.title = panel.querySelector(".tab-label").textContent;
      tab.addEventListener("click", () => choose(tab, name));
      panel.id = panelId;
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tabId);
      panel.tabIndex = 0;
      list.append(tab);
      return { tab, panel };
    });
    list.addEventListener("keydown", event => moveFocus(event, group));
    container.prepend(list);
    container.classList.add("has-script");
    groups.push(group);
    select(group, group[0].panel.dataset.tab);
  }

  document.querySelectorAll(".tabs").forEach(build);
  const chosen = load();
  groups.forEach(group => select(group, chosen));
})();
