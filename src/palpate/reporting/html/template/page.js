"use strict";
// The page is complete without this script; it adds sorting, tabs, a filter and a theme switch.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const value = (cell) => {
    const text = cell.dataset.value ?? cell.textContent.trim().replace("−", "-").replace("<", "");
    const number = Number.parseFloat(text);
    return Number.isNaN(number) || !/^[-+\d.]/.test(text) ? text : number;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const falls = heading.getAttribute("aria-sort") !== "descending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = all("tr", body).map((row) => [value(row.cells[column]), row]);
        rows.sort(([a], [b]) => (falls ? compare(b, a) : compare(a, b)));
        body.append(...rows.map(([, row]) => row));
        table.classList.add("sorted");
      });
    });
  }

  for (const group of all("[data-tabs]")) {
    const tabs = all("[role=tab]", group), panes = all(".pane", group);
    const show = (index) => {
      tabs.forEach((tab, i) => { tab.setAttribute("aria-selected", i === index); tab.tabIndex = i === index ? 0 : -1; });
      panes.forEach((pane, i) => { pane.hidden = i !== index; });
    };
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => show(index));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (index + step + tabs.length) % tabs.length;
        show(next);
        tabs[next].focus();
      });
    });
    group.classList.add("tabbed");
    group.querySelector(".tabs").hidden = false;
    show(Math.max(0, tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true")));
  }

  all("[data-tools]").forEach((tools) => { tools.hidden = false; });
  for (const box of all("[data-outlines]")) {
    box.addEventListener("change", () => box.closest("section").classList.toggle("bare", !box.checked));
  }
  for (const input of all("[data-filter]")) {
    const rows = all(`${input.dataset.filter} tbody tr`);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const count = input.closest(".tools").querySelector("[data-count]");
    const only = input.closest(".tools").querySelector("[data-only]");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let shown = 0;
      rows.forEach((row, i) => {
        const wanted = !only?.checked || "stored" in row.dataset;
        row.hidden = !(wanted && words.every((word) => texts[i].includes(word)));
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = shown < rows.length ? `${shown} of ${rows.length}` : "";
    };
    input.addEventListener("input", filter);
    only?.addEventListener("change", filter);
  }

  for (const block of all("[data-copy]")) {
    if (!navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    const text = block.textContent.trim();
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
    block.append(button);
  }

  const root = document.documentElement, theme = document.querySelector("[data-theme-switch]");
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  theme.hidden = false;
  label();

  // What is folded or hidden on the screen belongs on paper.
  let folded = [];
  addEventListener("beforeprint", () => { folded = all("details:not([open])"); folded.forEach((d) => { d.open = true; }); });
  addEventListener("afterprint", () => folded.forEach((d) => { d.open = false; }));
})();
