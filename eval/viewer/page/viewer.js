// The viewer: a file goes to the service, image and mask come back and are drawn here.

import { request } from "/page/request.js";

const TITLES = { vertebra: "Vertebrae", disc: "Discs", canal: "Spinal canal" };
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -1e9, End: 1e9 };
const EVERYWHERE = ["ArrowRight", "ArrowLeft"]; // the others scroll the page, except on the picture
const WHEEL_PIXELS = 40; // of a slice

const byId = (id) => document.getElementById(id);
let facts = null; // of the service
let scan = null; // what is shown
let shown = new Uint8Array(256); // whether a value of the mask is drawn
let pending = null;
let rolled = 0;

function report(text, state = "ready") {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", state === "bad");
  byId("progress").hidden = state !== "busy";
  document.body.dataset.state = state;
}

function problemOf(file) {
  if (facts.problem) return facts.problem;
  const lower = file.name.toLowerCase();
  if (!facts.endings.some((ending) => lower.endsWith(ending))) {
    return `${file.name}: only ${facts.endings.join(", ")} files are read here; synthspine predict reads DICOM, too`;
  }
  if (file.size > facts.most_bytes) return `${file.name}: has more than ${facts.most_bytes / 2 ** 20} MiB`;
  return null;
}

async function open(file) {
  if (!file) return;
  if (!facts) await connect();
  if (!facts) return;
  pending?.abort();
  pending = null;
  const problem = problemOf(file);
  if (problem) return report(problem, "bad");
  const controller = new AbortController();
  pending = controller;
  report(`Segmenting ${file.name} …`, "busy");
  let answer;
  try {
    const path = `/v1/segmentation?name=${encodeURIComponent(file.name)}`;
    const response = await request(path, { method: "POST", body: file, signal: controller.signal });
    answer = await response.arrayBuffer();
  } catch (error) {
    if (pending !== controller) return; // another scan was opened
    return report(error instanceof TypeError ? "The service or the file cannot be read" : error.message, "bad");
  }
  show(unpack(answer));
}

function unpack(buffer) {
  let at = 4 + new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, at - 4)));
  const take = (length) => new Uint8Array(buffer, (at += length) - length, length);
  const voxels = header.shape[0] * header.shape[1] * header.shape[2];
  return { header, image: take(voxels), values: take(voxels), file: take(buffer.byteLength - at) };
}

function show(answer) {
  scan = answer;
  const { header } = scan;
  const [slices, rows, columns] = header.shape;
  const spacing = header.spacing_mm.map((value) => Number(value.toFixed(2))).join(" × ");
  byId("name").textContent = header.scan;
  byId("facts").textContent = `${slices} slices of ${rows} × ${columns} pixels, ${spacing}\u00a0mm` +
    (header.relative ? "; ranks count from the lowest vertebra in view" : "");
  URL.revokeObjectURL(byId("download").href);
  byId("download").href = URL.createObjectURL(new Blob([scan.file], { type: "application/gzip" }));
  byId("download").download = header.mask;
  const flags = header.flags.map(({ reason }) => item("li", reason, "flag"));
  byId("flags").replaceChildren(...(flags.length ? flags : [item("li", "No flag: every check passes.")]));
  listStructures(header.structures);
  Object.assign(byId("slice"), { max: slices - 1, value: header.middle });
  byId("drop").hidden = true;
  byId("view").hidden = byId("tools").hidden = false;
  draw();
  byId("picture").focus({ preventScroll: true });
  const count = header.structures.length;
  report(`${header.scan}: ${count ? `${count} structures` : "no spine found"}, segmented in ${header.seconds} s`);
}

function item(kind, text, name = "") {
  const node = document.createElement(kind);
  node.textContent = text;
  node.className = name;
  return node;
}

function listStructures(structures) {
  const groups = Map.groupBy(structures.toReversed(), (each) => each.structure); // from the head down
  shown = new Uint8Array(256);
  byId("structures").tBodies[0].replaceChildren(...[...groups].reverse().flatMap(([group, members]) => {
    const volume = members.reduce((sum, each) => sum + each.volume_ml, 0);
    const whole = row(TITLES[group] ?? group, { volume_ml: volume, colour: members.at(-1).colour }, "whole");
    const parts = members[0].rank === null ? [] : members.map((each) => row(each.name, each, "member"));
    const boxes = parts.map((part) => part.querySelector("input"));
    const all = whole.querySelector("input");
    const update = () => {
      members.forEach((each, number) => { shown[each.spider_value] = (boxes[number] ?? all).checked; });
      const on = boxes.filter((box) => box.checked).length;
      if (boxes.length) all.checked = on > 0;
      all.indeterminate = on > 0 && on < boxes.length;
      draw();
    };
    all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; update(); });
    for (const box of boxes) box.addEventListener("change", update);
    for (const each of members) shown[each.spider_value] = 1;
    return [whole, ...parts];
  }));
}

function row(name, { volume_ml: volume, height_mm: height, colour }, kind) {
  const line = item("tr", "", kind);
  line.innerHTML = `<th scope="row"><label><input type="checkbox" checked><span class="swatch"></span><span></span></label></th>
    <td></td><td></td>`;
  const [, swatch, text] = line.querySelector("label").children;
  swatch.style.setProperty("--swatch", colour);
  text.textContent = name;
  line.children[1].textContent = volume.toFixed(1);
  line.children[2].textContent = height?.toFixed(1) ?? "";
  return line;
}

function draw() {
  const { header, image, values } = scan;
  const [slices, rows, columns] = header.shape;
  const [, down, along] = header.spacing_mm;
  const index = Number(byId("slice").value);
  const canvas = byId("picture");
  const scale = Math.min(byId("view").clientWidth / (columns * along), Math.max(260, innerHeight * 0.72) / (rows * down));
  const [width, height] = [columns * along * scale, rows * down * scale];
  canvas.style.width = `${width}px`;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";

  const colours = new Uint32Array(256); // as bytes: red, green, blue, 0
  for (const { spider_value: value, colour } of header.structures) {
    colours[value] = Number(`0x${colour.slice(5) + colour.slice(3, 5) + colour.slice(1, 3)}`);
  }
  const opacity = byId("mask").checked ? byId("opacity").value / 100 : 0;
  const [fill, border] = [opacity, Math.min(1, 2 * opacity)].map((part) => Math.round(255 * part) * 2 ** 24);
  const size = rows * columns;
  const from = index * size;
  const grey = new Uint32Array(size);
  const over = new Uint32Array(size);
  for (let place = 0; place < size; place++) {
    grey[place] = image[from + place] * 0x10101 + 0xff000000;
    const value = values[from + place];
    if (!shown[value]) continue;
    const same = (there, other) => there && values[from + other] === value;
    const column = place % columns;
    const inside = same(column > 0, place - 1) && same(column < columns - 1, place + 1) &&
      same(place >= columns, place - columns) && same(place < size - columns, place + columns);
    over[place] = colours[value] + (inside ? fill : border);
  }
  for (const layer of [grey, over]) {
    const part = new OffscreenCanvas(columns, rows);
    part.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(layer.buffer), columns, rows), 0, 0);
    context.drawImage(part, 0, 0, canvas.width, canvas.height);
  }
  const names = header.names[index].filter(([value]) => shown[value]);
  if (byId("labels").checked) write(context, names, canvas.width / columns, canvas.height / rows);
  const place = `${index + 1} of ${slices} from the left`;
  byId("place").textContent = place;
  byId("slice").setAttribute("aria-valuetext", place);
  byId("opacity-value").textContent = `${byId("opacity").value} %`;
  canvas.setAttribute("aria-label", `Slice ${place}: ${names.map(([, name]) => name).join(", ") || "no vertebra"}`);
}

function write(context, names, right, down) {
  context.font = `600 ${13 * devicePixelRatio}px system-ui, sans-serif`;
  Object.assign(context, { textAlign: "center", textBaseline: "middle", lineJoin: "round", fillStyle: "#fff" });
  context.lineWidth = 3 * devicePixelRatio;
  for (const [, name, row, column] of names) {
    const place = [(column + 0.5) * right, Math.max((row + 0.5) * down, 10 * devicePixelRatio)];
    context.strokeText(name, ...place);
    context.fillText(name, ...place);
  }
}

function step(by) {
  byId("slice").value = Number(byId("slice").value) + by;
  draw();
}

function onKey(event) {
  if (!scan || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox])")) return;
  const box = { m: "mask", n: "labels" }[event.key.toLowerCase()];
  if (box) byId(box).click();
  else if (event.key in STEPS && (event.target === byId("picture") || EVERYWHERE.includes(event.key))) {
    event.preventDefault();
    step(STEPS[event.key]);
  }
}

function onWheel(event) {
  if (event.ctrlKey) return; // zooms the page
  event.preventDefault();
  rolled += event.deltaMode ? Math.sign(event.deltaY) * WHEEL_PIXELS : event.deltaY;
  const steps = Math.trunc(rolled / WHEEL_PIXELS);
  rolled -= steps * WHEEL_PIXELS;
  if (steps) step(Math.sign(steps));
}

function onDrag(event) {
  event.preventDefault();
  document.body.classList.toggle("dragged", event.type === "dragover");
  if (event.type === "drop") open(event.dataTransfer.files[0]);
}

for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, onDrag);
for (const id of ["choose", "another"]) byId(id).addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", () => { open(byId("file").files[0]); byId("file").value = ""; });
for (const id of ["slice", "opacity", "mask", "labels"]) byId(id).addEventListener("input", () => draw());
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("picture").addEventListener("wheel", onWheel, { passive: false });
document.addEventListener("keydown", onKey);
addEventListener("resize", () => { if (scan) draw(); });

async function connect() {
  try {
    facts = await (await request("/v1/segmentation")).json();
    byId("endings").textContent = `a sagittal MRI series in one file: ${facts.endings.join(", ")}`;
    report(facts.problem ?? "Ready: no scan is open", facts.problem ? "bad" : "ready");
  } catch (error) {
    report(error.message, "bad");
  }
}

await connect();
