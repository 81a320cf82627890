"use strict";
// The operations of /openapi.json as a page; text only, so that nothing in it can be markup.
const make = (tag, text, parent) => parent.appendChild(Object.assign(document.createElement(tag), {textContent: text}));
const refOf = schema => schema?.$ref?.split("/").pop();
const nameOf = schema => schema.anyOf ? schema.anyOf.map(nameOf).join(" or ")
  : schema.type === "array" ? `list of ${nameOf(schema.items)}` : refOf(schema) || (schema.enum || [schema.const || schema.type]).join(" or ");
const between = (least, most, unit = "") => [
  least !== undefined && `from ${least.toLocaleString("en")}`, most !== undefined && `${unit && least === undefined ? "up " : ""}to ${most.toLocaleString("en")}`, unit,
].filter(Boolean).join(" ");
const boundsOf = ({minimum, maximum, minItems, maxItems, maxLength, anyOf}) => anyOf ? anyOf.map(boundsOf).find(Boolean) || ""
  : minItems ?? maxItems ? between(minItems, maxItems, "of them") : maxLength ? between(undefined, maxLength, "characters") : between(minimum, maximum);
const row = (table, name, schema, required) => {
  const line = make("tr", "", table), fallback = "default" in schema && `default ${JSON.stringify(schema.default)}`;
  make("th", name, line).scope = "row";
  make("td", [nameOf(schema), boundsOf(schema), required ? "required" : fallback].filter(Boolean).join(", "), line);
  make("td", schema.description || "", line);
};
fetch("/openapi.json").then(answer => answer.json()).then(api => {
  const main = document.getElementById("operations"), schemas = api.components.schemas;
  const rows = (table, name, prefix, isBody) => {
    for (const [field, schema] of Object.entries(schemas[name].properties)) {
      row(table, prefix + field, schema, isBody && schemas[name].required?.includes(field));
      const inner = refOf(schema) || refOf(schema.items);
      if (inner) rows(table, inner, prefix + field + (schema.items ? "[]." : "."), isBody);
    }
  };
  const fields = (title, content, section) => {
    if (!content) return;
    make("h3", title, section);
    rows(make("table", "", section), refOf(content["application/json"].schema), "", title === "Body");
  };
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, operation] of Object.entries(methods)) {
    const section = make("section", "", main);
    make("h2", `${method.toUpperCase()} ${path}`, section);
    make("p", operation.description, section);
    if (operation.parameters) {
      make("h3", "Parameters", section);
      const table = make("table", "", section);
      for (const parameter of operation.parameters) row(table, parameter.name, {description: parameter.description, ...parameter.schema}, parameter.required);
    }
    fields("Body", operation.requestBody?.content, section);
    const {200: good, ...bad} = operation.responses;
    fields("Answer", good.content, section);
    if (!Object.keys(bad).length) continue;
    make("h3", "Refusals", section);
    make("p", `${Object.entries(bad).map(([status, {description}]) => `${status} ${description}`).join("; ")}.`, section);
  }
});
