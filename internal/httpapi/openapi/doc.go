// Package openapi reads an OpenAPI 3.1 document and checks requests against it:
// query parameters, headers, path parameters and JSON bodies. It reports every
// wrong field at once and costs a few microseconds, because it walks the bytes
// of a body that was decoded already and builds nothing.
//
// It understands the keywords that our documents use and refuses a document
// with any other, so that nothing is silently not checked. kin-openapi does the
// same checks in tests, where its cost does not matter, and a test compares
// their verdicts. The parsed document keeps the order in which it was written,
// for pages made from it.
//
// Start with document.go for the model, check.go for bodies and params.go for
// the rest.
package openapi
