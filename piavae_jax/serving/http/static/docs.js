"use strict";
// The operations of /openapi.json as a page; text only, so that nothing in it can be markup.
const make = (tag, text, parent) => parent.appendChild(Object.assign(document.createElement(tag), {textContent: text}));
const nameOf = schema => schema.$ref ? schema.$ref.split("/").pop()
  : schema.anyOf ? schema.anyOf.map(nameOf).join(" or ")
  : schema.type === "array" ? `list of ${nameOf(schema.items)}` : (schema.enum || [schema.type]).join(" or ");
const row = (table, name, schema, description) => {
  const line = make("tr", "", table);
  make("th", name, line).scope = "row";
  make("td", nameOf(schema) + ("default" in schema ? `, default ${JSON.stringify(schema.default)}` : ""), line);
  make("td", description || schema.description || "", line);
};
fetch("/openapi.json").then(answer => answer.json()).then(api => {
  const main = document.getElementById("operations");
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, operation] of Object.entries(methods)) {
    const section = make("section", "", main);
    make("h2", `${method.toUpperCase()} ${path}`, section);
    make("p", operation.description, section);
    const table = make("table", "", section);
    for (const parameter of operation.parameters || []) row(table, parameter.name, parameter.schema, parameter.description);
    const body = operation.requestBody?.content["application/json"].schema.$ref.split("/").pop();
    for (const [name, schema] of Object.entries(api.components.schemas[body]?.properties || {})) row(table, name, schema);
    make("p", "Answers: " + Object.entries(operation.responses).map(([status, answer]) =>
      `${status} ${answer.content?.["application/json"]?.schema?.$ref?.split("/").pop() || ""} (${answer.description})`).join("; "), section);
  }
});
