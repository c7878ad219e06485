"use strict";
// The page is whole without this: the script adds the score slider, tips and enlarged pictures.
(() => {
  document.documentElement.classList.add("js");
  const find = (query, from = document) => from.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  if (!find("#wall")) return;

  // Our own tip comes at once; a browser's would come late, and a second time.
  for (const title of all("#wall .b > title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }

  const slider = find("#min-score");
  const shown = find("#min-score-shown");
  const scored = all("#wall .b[data-s]");
  const threshold = () => {
    const least = Number(slider.value);
    shown.textContent = least.toFixed(2);
    for (const box of scored) box.classList.toggle("low", Number(box.dataset.s) < least);
    for (const panel of all("#wall .panel")) {
      find(".tally", panel).textContent = all(".b:not(.low)", panel).length;
    }
  };
  slider.addEventListener("input", threshold);
  if (Number(slider.value) !== Number(slider.defaultValue)) threshold();

  const tip = find("#tip");
  const dialog = find("#large");
  const point = (event) => {
    const box = event.target.closest ? event.target.closest(".b") : null;
    tip.hidden = !box;
    if (!box) return;
    (dialog.open ? dialog : document.body).append(tip);
    tip.textContent = box.dataset.tip;
    const room = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - room.width - 8);
    const over = event.clientY + 18 + room.height > innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${over ? event.clientY - room.height - 12 : event.clientY + 18}px`;
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerleave", () => { tip.hidden = true; });

  const cards = all("#wall .card:has(.view)");
  const place = find("#large-view");
  const choice = find("#large-panels");
  let card = 0;
  let panel = 0;
  const show = () => {
    const panels = all(".panel", cards[card]);
    panel = (panel + panels.length) % panels.length;
    const copy = find(".view", panels[panel]).cloneNode(true);
    copy.removeAttribute("tabindex");
    place.replaceChildren(copy);
    find("#large-title").textContent = find("h3 bdi", cards[card]).textContent;
    const focused = choice.contains(document.activeElement);
    choice.replaceChildren(...panels.map((one, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = find("figcaption bdi", one).textContent;
      button.setAttribute("aria-pressed", String(index === panel));
      button.addEventListener("click", () => { panel = index; show(); });
      return button;
    }));
    if (focused) choice.children[panel].focus();
    tip.hidden = true;
  };
  const turn = (step) => {
    card = (card + step + cards.length) % cards.length;
    show();
  };
  const enlarge = (view) => {
    const own = view.closest(".card");
    card = cards.indexOf(own);
    panel = all(".view", own).indexOf(view);
    show();
    dialog.showModal();
  };
  for (const view of all("#wall .view")) {
    view.addEventListener("click", () => enlarge(view));
    view.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        enlarge(view);
      }
    });
  }
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
})();
