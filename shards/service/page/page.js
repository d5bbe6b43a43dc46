// The page: its controls form a query; the service returns the picture and the configuration of that query.

import { hasToken, request } from "/page/request.js";

const DELAY_MS = 40;
const SLIDERS = [
  ["alpha", "Contrast α: 0 T1, 1 T2", "", 0.01, 2],
  ["noise", "Noise", "", 0.005, 3],
  ["bias", "Bias field", "", 0.02, 2],
  ["spacing", "Acquired spacing", "× grid", 0.1, 1],
  ["blur", "Blur", "× width", 0.1, 1],
  ["deformation", "Deformation", "mm", 0.1, 1],
];

const byId = (id) => document.getElementById(id);
const chosen = new Map(); // values of the sliders that are set
let config = null;
let tab = "yaml";
let pending = null;
let timer = 0;

function query() {
  const values = new URLSearchParams();
  const preset = document.querySelector("[name=preset]:checked");
  if (preset && preset.value !== config.preset) values.set("preset", preset.value);
  if (byId("plain").checked) values.set("features", "none");
  for (const [name] of SLIDERS) if (chosen.has(name)) values.set(name, chosen.get(name));
  values.set("seed", byId("seed").value || "0");
  values.set("map", byId("map").value);
  return values;
}

function draw(bitmap) {
  const width = bitmap.width / 2;
  for (const [number, id] of ["label", "image"].entries()) {
    const canvas = byId(id);
    canvas.width = width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, number * width, 0, width, bitmap.height, 0, 0, width, bitmap.height);
    if (id === "image" && byId("overlay").checked) {
      context.globalAlpha = 0.42;
      context.globalCompositeOperation = "lighter";
      context.drawImage(bitmap, 0, 0, width, bitmap.height, 0, 0, width, bitmap.height);
    }
  }
}

async function refresh() {
  if (pending) pending.abort();
  const controller = new AbortController();
  pending = controller;
  const values = query();
  history.replaceState(null, "", `?${values}`);
  const startedAt = performance.now();
  try {
    const [picture, settings] = await Promise.all([
      request(`/v1/preview.png?${values}`, { signal: controller.signal }),
      request(`/v1/config?${values}`, { signal: controller.signal }),
    ]);
    draw(await createImageBitmap(await picture.blob()));
    config = { ...(await settings.json()), preset: config.preset };
    const count = config.changes.length;
    const difference = count ? `${count} setting${count > 1 ? "s" : ""} different from the preset spine` : "the preset spine";
    report(`Rendered in ${Math.round(performance.now() - startedAt)} ms on ${config.made_with.device} · ${difference}`);
    byId("source").textContent = config.source;
    showText();
  } catch (error) {
    if (error.name !== "AbortError") report(error.message, true);
  }
}

function report(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
  document.body.dataset.state = bad ? "bad" : "ready";
}

function scheduleRefresh() {
  document.body.dataset.state = "busy";
  clearTimeout(timer);
  timer = setTimeout(refresh, DELAY_MS);
}

function showText() {
  const url = `${location.origin}/v1/preview.png?${query()}`;
  const texts = { yaml: config.yaml || "{}  # the preset spine, unchanged\n", python: config.python, url: `${url}\n` };
  byId("text").textContent = texts[tab];
}

function slider([name, title, unit, step, digits]) {
  const { description: meaning, anyOf: [{ minimum: least, maximum: greatest }] } = config.parameters[name];
  const row = document.createElement("div");
  row.className = "row";
  row.innerHTML = `<label></label><output></output><input type="range">
    <button type="button" class="free">×</button>`;
  const [label, output, input, free] = row.children;
  label.textContent = title;
  label.htmlFor = input.id = name;
  output.htmlFor = name;
  label.title = meaning;
  free.title = free.ariaLabel = `${title}: random again`;
  Object.assign(input, { min: least, max: greatest, step, value: (least + greatest) / 2 });
  const show = () => {
    const set = chosen.has(name);
    row.classList.toggle("set", set);
    output.textContent = set ? `${Number(chosen.get(name)).toFixed(digits)} ${unit}`.trim() : "random";
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { chosen.set(name, input.value); show(); scheduleRefresh(); });
  free.addEventListener("click", () => { chosen.delete(name); show(); scheduleRefresh(); input.focus(); });
  row.show = (value) => {
    if (value === undefined) chosen.delete(name);
    else { input.value = value; chosen.set(name, input.value); }
    show();
  };
  byId("sliders").append(row);
  return row;
}

function newSeed() {
  byId("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 12;
  scheduleRefresh();
}

function selectTab(name) {
  tab = name;
  for (const other of ["yaml", "python", "url"]) {
    const button = byId(`tab-${other}`);
    button.setAttribute("aria-selected", String(other === name));
    button.tabIndex = other === name ? 0 : -1;
  }
  byId("text").setAttribute("aria-labelledby", `tab-${name}`);
  showText();
}

async function copy() {
  const text = byId("text").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers offer the clipboard only over https: select the text for Ctrl-C instead.
    getSelection().selectAllChildren(byId("text"));
    if (!document.execCommand("copy")) return report("Selected; press Ctrl-C to copy");
  }
  byId("copy").textContent = "Copied";
  setTimeout(() => { byId("copy").textContent = "Copy"; }, 1200);
}

async function start() {
  const initial = new URLSearchParams(location.search);
  config = await (await request("/v1/config")).json();
  byId("map").max = config.maps - 1;
  byId("map").value = initial.get("map") ?? config.map;
  byId("seed").value = initial.get("seed") ?? config.seed;
  byId("plain").checked = initial.get("features") === "none";
  const names = config.presets.includes(config.preset) ? config.presets : [config.preset, ...config.presets];
  for (const name of names) {
    const label = document.createElement("label");
    label.innerHTML = '<input type="radio" name="preset"><span></span>';
    label.firstChild.value = name;
    label.firstChild.checked = name === (initial.get("preset") ?? config.preset);
    label.lastChild.textContent = name;
    byId("presets").append(label);
  }
  const rows = SLIDERS.map(slider);
  rows.forEach((row, number) => row.show(initial.get(SLIDERS[number][0]) ?? undefined));

  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["map", "seed"]) byId(id).addEventListener("input", scheduleRefresh);
  byId("map").addEventListener("input", showMap);
  for (const id of ["plain", "presets"]) byId(id).addEventListener("change", scheduleRefresh);
  byId("overlay").addEventListener("change", scheduleRefresh);
  byId("shuffle").addEventListener("click", newSeed);
  byId("clear").addEventListener("click", () => { rows.forEach((row) => row.show()); scheduleRefresh(); });
  byId("copy").addEventListener("click", copy);
  const tabs = ["yaml", "python", "url"];
  tabs.forEach((name, number) => {
    byId(`tab-${name}`).addEventListener("click", () => selectTab(name));
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      selectTab(next);
      byId(`tab-${next}`).focus();
    });
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=number], input[type=password]");
    if (event.key.toLowerCase() === "r" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) newSeed();
  });
  showMap();
  // Links carry no token, so these two would be refused.
  for (const id of ["sets", "metrics"]) byId(id).hidden = hasToken();
  await refresh();
}

function showMap() {
  byId("map-value").textContent = `${Number(byId("map").value) + 1} of ${config.maps}`;
}

start().catch((error) => report(error.message, true));
