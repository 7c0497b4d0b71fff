#include "framework/report/page_parts.h"

namespace casdm {

/// The colours of curves follow Okabe & Ito 2008 and can be told apart with any kind of colour vision; they are lighter
/// on a dark background. From the ninth curve on, lines are dashed.
const std::string_view kPageStyle = R"css(
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1d1f23; --quiet: #5b616b; --line: #d9dce1; --panel: #f6f7f9; --link: #0a58b5; --good: #11703c;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0488c; --c4: #a67c00; --c5: #3a9bd0; --c6: #444; --c7: #8f6bd6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171b; --ink: #e7e9ed; --quiet: #a2a9b4; --line: #363b44; --panel: #1d2026; --link: #7db4ff;
    --good: #6fd39a;
    --c0: #56b4e9; --c1: #ff8f4d; --c2: #35c79a; --c3: #e08cc4; --c4: #e6c34d; --c5: #9ed8ff; --c6: #cfd3da; --c7: #b79cf0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.25rem 0 0.5rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
p, ul, dl { margin: 0 0 0.75rem; max-width: 46rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; list-style: none; padding: 0; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
dl.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.15rem 1rem; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; }
figure.plot { background: var(--panel); border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.75rem; }
figcaption { font-weight: 600; margin-bottom: 0.25rem; }
figcaption small { display: block; font-weight: 400; color: var(--quiet); }
svg { display: block; width: 100%; height: auto; }
svg text { font: 10.5px system-ui, sans-serif; fill: var(--quiet); }
.grid line { stroke: var(--line); }
.curve polyline { fill: none; stroke: var(--c); stroke-width: 1.6; stroke-linejoin: round; }
.curve polygon { fill: var(--c); opacity: 0.16; }
.curve circle { fill: var(--c); }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.d1 polyline { stroke-dasharray: 6 3; } .d2 polyline { stroke-dasharray: 2 2; } .d3 polyline { stroke-dasharray: 8 2 2 2; }
.legend { display: flex; flex-wrap: wrap; gap: 0 0.9rem; list-style: none; padding: 0; margin: 0.25rem 0; font-size: 0.9rem; }
.legend label { display: inline-flex; align-items: center; gap: 0.35rem; padding: 0.2rem 0; cursor: pointer; }
.legend input { margin: 0; }
svg.key { flex: none; width: 24px; height: 8px; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; color: var(--quiet); padding: 0.25rem 0; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 400; }
tbody tr:not(:has(> th:empty)) > * { border-top: 1px solid var(--quiet); }
td.nowrap { white-space: nowrap; }
strong { color: var(--good); }
details { margin: 0.25rem 0; }
summary { cursor: pointer; color: var(--quiet); padding: 0.2rem 0; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.75rem; overflow-x: auto;
  font: 0.85rem/1.45 ui-monospace, monospace; }
code { font: 0.92em ui-monospace, monospace; }
.controls { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; align-items: center; margin-bottom: 0.75rem; }
.controls label { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; }
.controls input[type="range"] { width: min(20rem, 60vw); }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
.samples img { width: 100%; max-width: 28rem; height: auto; image-rendering: pixelated; border-radius: 0.25rem;
  background: #fff; }
.neighbours { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
  gap: 0.75rem 1.5rem; margin-bottom: 1.5rem; }
.neighbours ol { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.4rem; list-style: none; margin: 0;
  padding: 0; font-size: 0.8rem; color: var(--quiet); }
.neighbours li:first-child img { outline: 2px solid var(--good); }
.neighbours img { width: 100%; height: auto; image-rendering: pixelated; background: #fff; display: block; }
[hidden] { display: none !important; }
@media print {
  body { max-width: none; font-size: 10pt; }
  .controls, nav, .legend input { display: none; }
  figure, tr { break-inside: avoid; }
  .scroll, pre { overflow: visible; white-space: pre-wrap; }
}
)css";

const std::string_view kPageScript = R"js(
"use strict";
for (const box of document.querySelectorAll("input[data-shows]")) {
  box.addEventListener("change", () => {
    const curve = box.closest("figure").querySelector(`[data-curve="${box.dataset.shows}"]`);
    curve.toggleAttribute("hidden", !box.checked);
  });
}
for (const section of document.querySelectorAll("[data-samples]")) {
  const slider = section.querySelector("input[type=range]");
  const seeds = section.querySelector("select");
  const output = section.querySelector("output");
  const moments = section.dataset.samples.split(" ");
  const show = () => {
    const moment = moments[slider ? slider.value : 0];
    const seed = seeds ? seeds.value : null;
    if (output) output.textContent = Number(moment).toLocaleString("en");
    if (slider) slider.setAttribute("aria-valuetext", `${moment} images`);
    for (const figure of section.querySelectorAll("figure")) {
      const images = [...figure.querySelectorAll("img")].filter((image) => seed === null || image.dataset.seed === seed);
      const before = images.filter((image) => Number(image.dataset.images) <= Number(moment));
      const shown = before[before.length - 1];
      for (const image of figure.querySelectorAll("img")) image.hidden = image !== shown;
      const at = shown ? shown.dataset.images : null;
      const label = at === moment ? "" : at ? `after ${Number(at).toLocaleString("en")} images` : "no grid yet";
      figure.querySelector("small").textContent = label;
    }
  };
  for (const control of [slider, seeds]) if (control) control.addEventListener("input", show);
  show();
}
)js";

}  // namespace casdm
