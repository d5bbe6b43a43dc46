// Lists what openapi.json describes; nothing is loaded from elsewhere.

function element(name, text = "", parent = null) {
  const node = document.createElement(name);
  node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function kindOf({ anyOf, ...rest } = {}) {
  const schema = { ...anyOf?.[0], ...rest }; // of an optional parameter the first alternative
  if (schema.enum) return schema.enum.join(" | ");
  const span = schema.minimum !== undefined && schema.maximum !== undefined ? ` ${schema.minimum} to ${schema.maximum}` : "";
  const usual = (schema.default ?? null) !== null ? `, default ${schema.default}` : "";
  return `${schema.type ?? ""}${span}${usual}`;
}

function table(title, rows, parent) {
  if (!rows.length) return;
  const body = element("table", "", parent);
  const head = element("tr", "", body);
  for (const cell of title) element("th", cell, head);
  for (const cells of rows) {
    const row = element("tr", "", body);
    for (const cell of cells) element("td", cell, row);
  }
}

// Links carry no token, so these two would be refused.
for (const id of ["sets", "metrics"]) document.getElementById(id).hidden = Boolean(sessionStorage.getItem("token"));
const api = await (await fetch("/openapi.json")).json();
document.getElementById("about").textContent = `${api.info.description.replaceAll("`", "")} Version ${api.info.version}.`;
const groups = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const group = operation.tags?.[0] ?? "other";
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push([method, path, operation]);
  }
}
for (const [group, operations] of groups) {
  const place = document.getElementById("operations");
  element("h2", group, place);
  for (const [method, path, operation] of operations) {
    const details = element("details", "", place);
    const summary = element("summary", "", details);
    element("b", method.toUpperCase(), summary);
    element("code", path, summary);
    element("span", operation.summary ?? "", summary);
    const parameters = (operation.parameters ?? []).map((p) => [p.name, kindOf(p.schema), p.description ?? ""]);
    table(["parameter", "value", "meaning"], parameters, details);
    table(["status", "meaning"], Object.entries(operation.responses).map(([code, r]) => [code, r.description]), details);
  }
}
