"use strict";
// The figures are whole without this. The script gives every table as CSV, draws the pictures as
// one scrolls, finds those that are asked for and enlarges them.
(() => {
  document.documentElement.classList.add("js");
  const find = (query, from = document) => from.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const SHAPES = ["svg", "g", "rect", "path", "image", "text"];
  const make = (tag, attributes = {}, ...children) => {
    const node = SHAPES.includes(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  // A text that a spreadsheet would take for a formula is marked as text.
  const cell = (value) => {
    const plain = String(value).trim();
    const number = plain.replaceAll(",", "");
    if (/^[-+]?\d+(\.\d+)?$/.test(number)) return number;
    const safe = /^[=+\-@\t]./.test(plain) ? `'${plain}` : plain;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const save = (name, rows) => {
    const text = rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
    const href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
    make("a", { href, download: `${name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };
  const words = (td) =>
    [...td.childNodes].map((node) => node.textContent.trim()).filter(Boolean).join(" ");
  for (const table of all(".scroll > table")) {
    const part = table.closest("section");
    const name = `${part.id}-${all(".scroll > table", part).indexOf(table) + 1}`;
    const button = make("button", { type: "button", class: "csv", title: "This table as CSV" }, "CSV");
    button.addEventListener("click", () => {
      save(name, [...table.rows].map((row) => [...row.cells].map(words)));
    });
    table.parentNode.after(button);
  }

  if (!find("#wall")) return;
  const data = JSON.parse(find("#wall-data").textContent);
  const shown = find("#wall-pictures").textContent.matchAll(/ src="([^"]*)"/g);
  const sources = data.pictures.map((one) => (one.reason ? "" : shown.next().value[1]));
  const [LABEL, LEFT, TOP, RIGHT, BOTTOM, SCORE, DASHED, TOLD, MASK] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const tint = (label) => `c${label % 8} k${Math.floor(label / 8) % 3}`;
  const slider = find("#min-score");
  const seen = (box) => box[SCORE] < 0 || box[SCORE] >= Number(slider.value);
  const edits = (picture) => (picture.edits ? picture.edits.reduce((sum, one) => sum + one, 0) : 0);

  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `620 13px ${getComputedStyle(document.body).fontFamily}`;
  // Labels of 13 pixels on the screen, whatever the picture's size; none covers another. One that
  // finds no place is told by the pointer.
  const place = (svg, boxes) => {
    boxes.forEach((box, row) => {
      svg.querySelector(`[data-row="${row}"]`).classList.toggle("low", !seen(box));
    });
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const shown = svg.getBoundingClientRect();
    if (!shown.width) return;
    const unit = Math.max(width / shown.width, height / shown.height);
    const tall = 16 * unit;
    const placed = [];
    const texts = find(".words", svg);
    texts.replaceChildren();
    boxes.filter(seen).forEach((box) => {
      const label = data.labels[box[LABEL]] ?? "?";
      const short = label.length > 24 ? `${label.slice(0, 23)}…` : label;
      const said = box[SCORE] < 0 ? short : `${short} ${box[SCORE].toFixed(2)}`;
      const wide = (pen.measureText(said).width + 6) * unit;
      const corners = [
        [box[LEFT], box[TOP] - tall], [box[RIGHT] - wide, box[TOP] - tall],
        [box[LEFT], box[BOTTOM]], [box[RIGHT] - wide, box[BOTTOM]],
        [box[RIGHT], box[TOP]], [box[LEFT] - wide, box[TOP]],
        [box[LEFT], box[TOP]], [box[RIGHT] - wide, box[BOTTOM] - tall],
      ].map(([x, y]) => [
        Math.min(Math.max(x, 0), Math.max(width - wide, 0)),
        Math.min(Math.max(y, 0), Math.max(height - tall, 0)),
      ]);
      const free = corners.find(([x, y]) =>
        placed.every(([a, b, c]) => x >= c || x + wide <= a || y >= b + tall || y + tall <= b));
      if (!free) return;
      placed.push([free[0], free[1], free[0] + wide]);
      texts.append(make("text", {
        class: tint(box[LABEL]), x: free[0] + 3 * unit, y: free[1] + 12.5 * unit,
        style: `font-size:${13 * unit}px;stroke-width:${3 * unit}px`,
      }, said));
    });
  };

  // One panel of one picture. The surest box is drawn last, on top.
  const drawing = (at, panel) => {
    const picture = data.pictures[at];
    const [width, height] = picture.size;
    const svg = make("svg", {
      class: "view", viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0,
      "aria-label": `${data.panels[panel][1]}, ${picture.name}`,
    }, make("image", { href: sources[at], width, height }));
    const boxes = picture.boxes[panel];
    boxes.map((box, row) => {
      const shape = {
        x: box[LEFT], y: box[TOP],
        width: Math.max(box[RIGHT] - box[LEFT], 0.5), height: Math.max(box[BOTTOM] - box[TOP], 0.5),
      };
      const group = make("g", {
        class: `b ${tint(box[LABEL])}${box[DASHED] ? " dash" : ""}${box[MASK] ? " masked" : ""}`,
        "data-row": row,
        "data-tip": [
          data.labels[box[LABEL]] + (box[SCORE] < 0 ? "" : ` ${box[SCORE].toFixed(3)}`), box[TOLD],
        ].filter(Boolean).join(" · "),
      });
      if (box[MASK]) group.append(make("path", { d: box[MASK] }));
      group.append(make("rect", { class: "halo", ...shape }), make("rect", shape));
      return group;
    }).reverse().forEach((group) => svg.append(group));
    svg.append(make("g", { class: "words" }));
    svg.paint = () => place(svg, boxes);
    return svg;
  };

  const resized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.paint()));
  const tally = (figure, at, panel) => {
    find(".tally", figure).textContent = data.pictures[at].boxes[panel].filter(seen).length;
  };
  const card = (at, number) => {
    const picture = data.pictures[at];
    const meta = make("p", { class: "meta" });
    if (picture.edits) {
      const kinds = ["to add", "to delete", "to relabel", "to move"];
      const told = picture.edits.map((n, kind) => (n ? `${n} ${kinds[kind]}` : "")).filter(Boolean);
      meta.append(make("span", {}, told.join(", ") || "nothing to do"));
    }
    if (picture.level !== undefined) {
      const bar = make("span", { class: "level" }, make("i"));
      bar.firstChild.style.width = `${100 * picture.level}%`;
      meta.append(bar, make("span", {}, `disagreement ${picture.level.toFixed(2)}`));
    }
    const title = make("h3", {}, make("span", { class: "place" }, number + 1), make("bdi", {}, picture.name));
    const article = make("article", { class: "card", "data-at": at }, make("header", {}, title, meta));
    if (picture.reason) {
      article.append(make("p", { class: "gone" }, picture.reason));
      return article;
    }
    article.classList.add(picture.size[1] > picture.size[0] ? "tall" : "wide");
    const panels = data.panels.map(([key, name], panel) => {
      const figure = make("figure", { class: `panel ${key}` },
        make("figcaption", {}, make("bdi", {}, name), make("b", { class: "tally" })), drawing(at, panel));
      tally(figure, at, panel);
      resized.observe(find(".view", figure));
      return figure;
    });
    const truth = data.panels[1] && data.panels[1][0] === "pt";
    // The quorum beside the truth, the detectors below.
    article.append(make("div", { class: "panels" }, ...(truth
      ? [make("div", {}, ...panels.slice(0, 2)), make("div", {}, ...panels.slice(2))]
      : panels)));
    return article;
  };

  // What is asked for. A picture is shown where one of its boxes that are seen has the label, in
  // the panel, dashed, as far as these are asked for.
  const cards = find(".cards");
  const asked = { label: find("#with-label"), panel: find("#in-panel"), order: find("#order") };
  let chosen = [];
  let drawn = 0;
  const wanted = (picture) => {
    const { label, panel } = asked;
    if (!picture.name.toLowerCase().includes(find("#find").value.trim().toLowerCase())) return false;
    if ((picture.level ?? 0) < Number(find("#from-level").value)) return false;
    if (find("#only-errors").checked && !edits(picture)) return false;
    const dashed = find("#only-dashed").checked;
    if (!label.value && !panel.value && !dashed) return true;
    return (picture.boxes ?? []).some((boxes, at) =>
      (!panel.value || Number(panel.value) === at) && boxes.some((box) => seen(box)
        && (!label.value || Number(label.value) === box[LABEL]) && (!dashed || box[DASHED])));
  };
  const more = () => {
    const next = chosen.slice(drawn, drawn + 8).map((at, number) => card(at, drawn + number));
    drawn += next.length;
    cards.append(...next);
    watch.unobserve(find("#more"));
    if (drawn < chosen.length) watch.observe(find("#more"));
  };
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) more();
  }, { rootMargin: "1200px" });
  const choose = () => {
    chosen = data.pictures.map((_, at) => at).filter((at) => wanted(data.pictures[at]));
    const by = asked.order.value;
    const picture = (at) => data.pictures[at];
    if (by === "name") chosen.sort((a, b) => picture(a).name.localeCompare(picture(b).name));
    if (by === "edits") chosen.sort((a, b) => edits(picture(b)) - edits(picture(a)));
    find("#found").textContent = `${chosen.length} of ${data.pictures.length}`;
    resized.disconnect();
    cards.replaceChildren();
    drawn = 0;
    more();
  };
  const threshold = () => {
    find("#min-score-shown").textContent = Number(slider.value).toFixed(2);
    for (const article of cards.children) {
      all(".panel", article).forEach((figure, panel) => {
        tally(figure, article.dataset.at, panel);
        find(".view", figure).paint();
      });
    }
  };
  const labels = new Set(data.pictures.flatMap((p) => (p.boxes ?? []).flat().map((box) => box[LABEL])));
  const known = [...labels].filter((label) => label >= 0).sort((a, b) => a - b);
  known.forEach((label) => asked.label.append(make("option", { value: label }, data.labels[label])));
  data.panels.forEach(([, name], at) => asked.panel.append(make("option", { value: at }, name)));
  for (const label of known.slice(0, 40)) {
    const swatch = make("svg", { viewBox: "0 0 16 12" },
      make("rect", { class: tint(label), x: 1.5, y: 1.5, width: 13, height: 9 }));
    find("#legend").append(make("li", {}, swatch, make("bdi", {}, data.labels[label])));
  }
  if (known.length > 40) find("#legend").append(make("li", {}, `and ${known.length - 40} more`));
  const there = { truth: data.pictures.some((p) => p.edits), level: data.pictures.some((p) => "level" in p) };
  for (const kind of ["truth", "level"]) {
    if (!there[kind]) all(`#wall .controls .if-${kind}`).forEach((node) => node.remove());
  }
  for (const id of ["only-errors", "from-level"]) {  // asked of, though there is nothing to ask
    if (!find(`#${id}`)) find("#wall .controls").append(make("input", { type: "hidden", id, value: 0 }));
  }
  for (const control of all("#wall fieldset:first-of-type :is(input, select)")) control.addEventListener("input", choose);
  slider.addEventListener("input", threshold);
  slider.addEventListener("change", choose);
  find("#list").addEventListener("click", () => save("pictures", [
    ["picture", "disagreement", "add", "delete", "relabel", "move", "edits"],
    ...chosen.map((at) => {
      const picture = data.pictures[at];
      return [picture.name, picture.level ?? "", ...(picture.edits ?? ["", "", "", ""]), picture.edits ? edits(picture) : ""];
    }),
  ]));

  const tip = find("#tip");
  const dialog = find("#large");
  document.addEventListener("pointermove", (event) => {
    const box = event.target.closest ? event.target.closest(".b") : null;
    tip.hidden = !box;
    if (!box) return;
    (dialog.open ? dialog : document.body).append(tip);
    tip.textContent = box.dataset.tip;
    const room = tip.getBoundingClientRect();
    const over = event.clientY + 18 + room.height > innerHeight;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - room.width - 8))}px`;
    tip.style.top = `${over ? event.clientY - room.height - 12 : event.clientY + 18}px`;
  });
  document.addEventListener("pointerleave", () => { tip.hidden = true; });

  const choice = find("#large-panels");
  let large = 0;  // a place among those chosen
  let panel = 0;
  const show = () => {
    const at = chosen[large];
    panel = (panel + data.panels.length) % data.panels.length;
    const view = drawing(at, panel);
    view.removeAttribute("tabindex");
    resized.observe(view);
    find("#large-view").replaceChildren(view);
    find("#large-title").textContent = data.pictures[at].name;
    const focused = choice.contains(document.activeElement);
    choice.replaceChildren(...data.panels.map(([, name], index) => {
      const button = make("button", { type: "button", "aria-pressed": index === panel }, name);
      button.addEventListener("click", () => { panel = index; show(); });
      return button;
    }));
    if (focused) choice.children[panel].focus();
    tip.hidden = true;
  };
  const turn = (step) => {
    do large = (large + step + chosen.length) % chosen.length;
    while (data.pictures[chosen[large]].reason);
    show();
  };
  const enlarge = (event) => {
    const view = event.target.closest("#wall .cards .view");
    if (!view || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const article = view.closest(".card");
    large = chosen.indexOf(Number(article.dataset.at));
    panel = all(".view", article).indexOf(view);
    dialog.showModal();
    show();
  };
  cards.addEventListener("click", enlarge);
  cards.addEventListener("keydown", enlarge);
  find("#large-back").addEventListener("click", () => turn(-1));
  find("#large-on").addEventListener("click", () => turn(1));
  find("#large-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    tip.hidden = true;
    document.body.append(tip);
  });
  document.addEventListener("keydown", (event) => {
    if (!dialog.open) return;
    if (event.key === "ArrowRight") turn(1);
    else if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowDown") { panel += 1; show(); }
    else if (event.key === "ArrowUp") { panel -= 1; show(); }
    else return;
    event.preventDefault();
  });
  choose();
})();
