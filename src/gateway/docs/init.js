// Starts Swagger UI on the gateway's own description. A file of its own, so that no inline script has to be allowed.
const methods = ["get", "put", "post", "delete", "options", "head", "patch"];

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  // Swagger's online validator would be told of every visit.
  validatorUrl: null,
  supportedSubmitMethods: document.body.dataset.send === "on" ? methods : [],
});
