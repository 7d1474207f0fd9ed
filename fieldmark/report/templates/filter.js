// Hides what is of models that don't match, all over the page: rows, columns and pictures. An open fold stays open.
const bar = document.querySelector("#filter"), box = bar.querySelector("input"), kind = bar.querySelector("select");
const rows = [...document.querySelectorAll("#leaderboard tr[data-model]")];
const kinds = new Map(rows.map((row) => [row.dataset.model, row.dataset.kind ?? ""]));
const marked = [...document.querySelectorAll("[data-model]:not(thead th)")];
const columns = [...document.querySelectorAll("thead th[data-model]")];
const apply = () => {
  const words = box.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const fits = (model) => (!kind.value || kinds.get(model) === kind.value)
    && (!words.length || words.some((word) => model.toLowerCase().includes(word)));
  for (const one of marked) one.hidden = !fits(one.dataset.model);
  for (const heading of columns) {
    const hidden = !fits(heading.dataset.model), table = heading.closest("table");
    for (const row of table.rows) row.cells[heading.cellIndex].hidden = hidden;
    table.parentElement.hidden = [...table.tHead.rows[0].cells].slice(2).every((cell) => cell.hidden);
  }
  const shown = rows.filter((row) => !row.hidden).length;
  bar.querySelector("output").textContent = `${shown} of ${rows.length} models`;
};
bar.hidden = false;
bar.addEventListener("input", apply);
bar.addEventListener("submit", (event) => event.preventDefault());
bar.addEventListener("reset", () => setTimeout(apply));
apply();

// One model's pictures, by name.
const pick = document.querySelector("#pick");
pick.closest("p").hidden = false;
pick.addEventListener("change", () => {
  for (const one of document.querySelectorAll("#gallery details.model")) {
    one.open = one.dataset.model === pick.value;
    if (one.open) one.scrollIntoView();
  }
});

// On paper nothing is folded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
