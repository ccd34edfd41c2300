"use strict";
(() => {
  const root = document.documentElement, tip = document.getElementById("tip");
  root.classList.add("js");
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // data-sort is the value of a cell if its text differs from it; unknown values are last in both orders.
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? (cell.tagName === "TH" ? cell.firstChild : cell).textContent.trim();
    if (text === "" || text === "–") return null;
    const number = Number(text.replace(/[,%+]|[<≤≥]\s*/g, "").replace(/\s.*$/, ""));
    return Number.isNaN(number) ? text : number;
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
      rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : down ? order(b, a) : order(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    }));
  }

  // The choices of a figure also hide rows of the comparison below it.
  for (const choices of document.querySelectorAll(".toggles[data-controls]")) {
    const id = choices.dataset.controls;
    const targets = document.querySelectorAll(`#${id}, [data-follows="${id}"]`);
    choices.addEventListener("change", ({ target }) => {
      for (const one of targets) one.dataset[target.name.split("-")[0]] = target.value;
    });
  }

  // A mark shows its text when pointed at; a click keeps it, and adds the links of its cells.
  let kept = null;
  const show = (mark, keep) => {
    tip.replaceChildren(mark.dataset.tip);
    if (keep) {
      for (const id of mark.dataset.cells.split(" ").filter(Boolean)) {
        const row = document.getElementById(id), line = document.createElement("div");
        const name = row.cells[0].textContent.trim().split(/\s/)[0].split("/").pop();
        const own = document.createElement("a");
        own.href = `#${id}`;
        own.textContent = `seed ${name}`;
        line.append(own, ...[...row.querySelectorAll("td a")].flatMap((a) => [" · ", a.cloneNode(true)]));
        tip.append(line);
      }
    }
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(at.left + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${at.bottom + box.height + 8 < innerHeight ? at.bottom + 6 : Math.max(8, at.top - box.height - 6)}px`;
  };
  const hide = () => { tip.hidden = true; kept = null; };
  for (const mark of document.querySelectorAll("[data-tip]")) {
    mark.addEventListener("pointerenter", () => { if (!kept) show(mark, false); });
    mark.addEventListener("pointerleave", () => { if (!kept) hide(); });
    mark.addEventListener("focus", () => { if (!kept) show(mark, false); });
    mark.addEventListener("blur", () => { if (!kept) hide(); });
    const keep = (event) => { event.stopPropagation(); event.preventDefault(); kept = mark; show(mark, true); };
    mark.addEventListener("click", keep);
    mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") keep(event); });
  }
  document.addEventListener("click", (event) => { if (!tip.contains(event.target)) hide(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true });

  // A link to a cell opens what it lies in.
  const reveal = () => {
    const found = location.hash && document.getElementById(location.hash.slice(1));
    for (let outer = found; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
    if (found) found.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

  for (const block of document.querySelectorAll(".overlays")) {
    const select = block.querySelector("select");
    const update = () => {
      const view = block.querySelector("input:checked").value, of = select ? select.value : "";
      block.dataset.view = view;
      if (select) select.disabled = view === "photo" || view === "label";
      for (const layer of block.querySelectorAll(".layer")) {
        const mine = layer.dataset.of === "" || layer.dataset.of === of || (layer.dataset.of.endsWith("/") && of.startsWith(layer.dataset.of));
        const wanted = layer.dataset.view === view || (view === "errors" && layer.dataset.view === "photo");
        layer.classList.toggle("on", mine && wanted);
      }
    };
    if (!block.querySelector("input:checked")) block.querySelector("input").checked = true;
    block.addEventListener("change", update);
    update();
  }
})();
