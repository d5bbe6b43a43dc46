// The page: what is chosen goes into a query, the service answers with a picture and with its configuration.

const LATER_MS = 40;
const SLIDERS = [
  ["alpha", "Contrast α: 0 T1, 1 T2", "", 0.01, 2],
  ["noise", "Noise", "", 0.005, 3],
  ["bias", "Bias field", "", 0.02, 2],
  ["spacing", "Acquired spacing", "× grid", 0.1, 1],
  ["blur", "Blur", "× width", 0.1, 1],
  ["deformation", "Deformation", "mm", 0.1, 1],
];

const at = (id) => document.getElementById(id);
const chosen = new Map(); // sliders that are set by hand
let config = null;
let tab = "yaml";
let token = sessionStorage.getItem("token") || "";
let pending = null;
let timer = 0;

async function ask(path, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, signal, cache: "no-cache" });
  if (answer.status === 401) {
    await askForToken();
    return ask(path, signal);
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || `the service answers ${answer.status}`);
  }
  return answer;
}

function askForToken() {
  const dialog = at("ask");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      token = at("token").value.trim();
      sessionStorage.setItem("token", token);
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
}

function query() {
  const values = new URLSearchParams();
  const preset = document.querySelector("[name=preset]:checked");
  if (preset && preset.value !== config.preset) values.set("preset", preset.value);
  if (at("plain").checked) values.set("features", "none");
  for (const [name] of SLIDERS) if (chosen.has(name)) values.set(name, chosen.get(name));
  values.set("seed", at("seed").value || "0");
  values.set("map", at("map").value);
  return values;
}

function draw(bitmap) {
  const width = bitmap.width / 2;
  for (const [number, id] of ["label", "image"].entries()) {
    const canvas = at(id);
    canvas.width = width;
    canvas.height = bitmap.height;
    const brush = canvas.getContext("2d");
    brush.drawImage(bitmap, number * width, 0, width, bitmap.height, 0, 0, width, bitmap.height);
    if (id === "image" && at("overlay").checked) {
      brush.globalAlpha = 0.42;
      brush.globalCompositeOperation = "lighter";
      brush.drawImage(bitmap, 0, 0, width, bitmap.height, 0, 0, width, bitmap.height);
    }
  }
}

async function refresh() {
  if (pending) pending.abort();
  const own = new AbortController();
  pending = own;
  const values = query();
  history.replaceState(null, "", `?${values}`);
  const start = performance.now();
  try {
    const [picture, told] = await Promise.all([
      ask(`/v1/preview.png?${values}`, own.signal),
      ask(`/v1/config?${values}`, own.signal),
    ]);
    draw(await createImageBitmap(await picture.blob()));
    config = { ...(await told.json()), preset: config.preset };
    const count = config.changes.length;
    const against = count ? `${count} setting${count > 1 ? "s" : ""} against the preset spine` : "the preset spine";
    say(`Rendered in ${Math.round(performance.now() - start)} ms on ${config.made_with.device} · ${against}`);
    at("source").textContent = config.source;
    showText();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  }
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
  document.body.dataset.state = bad ? "bad" : "ready";
}

function later() {
  document.body.dataset.state = "busy";
  clearTimeout(timer);
  timer = setTimeout(refresh, LATER_MS);
}

function showText() {
  const url = `${location.origin}/v1/preview.png?${query()}`;
  const texts = { yaml: config.yaml || "{}  # the preset spine as it is\n", python: config.python, url: `${url}\n` };
  at("text").textContent = texts[tab];
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
  free.title = free.ariaLabel = `${title}: leave it to chance`;
  Object.assign(input, { min: least, max: greatest, step, value: (least + greatest) / 2 });
  const show = () => {
    const set = chosen.has(name);
    row.classList.toggle("set", set);
    output.textContent = set ? `${Number(chosen.get(name)).toFixed(digits)} ${unit}`.trim() : "random";
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { chosen.set(name, input.value); show(); later(); });
  free.addEventListener("click", () => { chosen.delete(name); show(); later(); input.focus(); });
  row.show = (value) => {
    if (value === undefined) chosen.delete(name);
    else { input.value = value; chosen.set(name, input.value); }
    show();
  };
  at("sliders").append(row);
  return row;
}

function anotherSeed() {
  at("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 12;
  later();
}

function choose(name) {
  tab = name;
  for (const other of ["yaml", "python", "url"]) {
    const button = at(`tab-${other}`);
    button.setAttribute("aria-selected", String(other === name));
    button.tabIndex = other === name ? 0 : -1;
  }
  at("text").setAttribute("aria-labelledby", `tab-${name}`);
  showText();
}

async function copy() {
  const text = at("text").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no clipboard: select, so that Ctrl-C does it.
    getSelection().selectAllChildren(at("text"));
    if (!document.execCommand("copy")) return say("Selected: Ctrl-C copies it");
  }
  at("copy").textContent = "Copied";
  setTimeout(() => { at("copy").textContent = "Copy"; }, 1200);
}

async function begin() {
  const asked = new URLSearchParams(location.search);
  config = await (await ask("/v1/config")).json();
  at("map").max = config.maps - 1;
  at("map").value = asked.get("map") ?? config.map;
  at("seed").value = asked.get("seed") ?? config.seed;
  at("plain").checked = asked.get("features") === "none";
  const names = config.presets.includes(config.preset) ? config.presets : [config.preset, ...config.presets];
  for (const name of names) {
    const label = document.createElement("label");
    label.innerHTML = '<input type="radio" name="preset"><span></span>';
    label.firstChild.value = name;
    label.firstChild.checked = name === (asked.get("preset") ?? config.preset);
    label.lastChild.textContent = name;
    at("presets").append(label);
  }
  const rows = SLIDERS.map(slider);
  rows.forEach((row, number) => row.show(asked.get(SLIDERS[number][0]) ?? undefined));

  at("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["map", "seed"]) at(id).addEventListener("input", later);
  at("map").addEventListener("input", showMap);
  for (const id of ["plain", "presets"]) at(id).addEventListener("change", later);
  at("overlay").addEventListener("change", later);
  at("shuffle").addEventListener("click", anotherSeed);
  at("clear").addEventListener("click", () => { rows.forEach((row) => row.show()); later(); });
  at("copy").addEventListener("click", copy);
  const tabs = ["yaml", "python", "url"];
  tabs.forEach((name, number) => {
    at(`tab-${name}`).addEventListener("click", () => choose(name));
    at(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      choose(next);
      at(`tab-${next}`).focus();
    });
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=number], input[type=password]");
    if (event.key.toLowerCase() === "r" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) anotherSeed();
  });
  showMap();
  // A link carries no token: what it leads to could not be opened.
  for (const id of ["sets", "metrics"]) at(id).hidden = Boolean(token);
  await refresh();
}

function showMap() {
  at("map-value").textContent = `${Number(at("map").value) + 1} of ${config.maps}`;
}

begin().catch((error) => say(error.message, true));
