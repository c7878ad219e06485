"use strict";
// A run's page follows the run; times are said in the reader's own zone. Nothing here is needed.
const said = { dateStyle: "medium", timeStyle: "short" };
function times(root) {
  for (const time of root.querySelectorAll("time[datetime]"))
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, said);
}
times(document);

const live = document.getElementById("live");
const working = (state) => state === "waiting" || state === "working";
let wait = 1000;

async function follow() {
  if (document.hidden) return void setTimeout(follow, 1000);
  try {
    const answer = await fetch(live.dataset.from, { redirect: "manual" });
    if (answer.type === "opaqueredirect") return void location.reload(); // to sign in again
    if (!answer.ok) throw new Error(answer.status);
    if (!working(answer.headers.get("x-state"))) return void location.reload();
    const open = live.querySelector("details")?.open;
    const part = await answer.text();
    const held = live.querySelector("summary") === document.activeElement;
    live.innerHTML = part;
    const log = live.querySelector("details");
    if (log && open === false) log.open = false;
    if (held) live.querySelector("summary")?.focus(); // else the keyboard begins anew at the top
    tail();
    times(live);
    wait = 1000;
  } catch {
    wait = Math.min(2 * wait, 30000);
  }
  setTimeout(follow, wait);
}
function tail() {
  const log = live.querySelector(".log ol");
  if (log) log.scrollTop = log.scrollHeight;
}
if (live) {
  tail();
  if (working(live.dataset.state)) setTimeout(follow, wait);
}

// A form that takes a while is sent once.
for (const form of document.querySelectorAll("form[method=post]"))
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
  });
