// Package apitest holds every exchange of a test against the OpenAPI document:
// an undocumented status, header, content type, field or event fails the test,
// and so does a request that the server took although the document forbids it.
//
// It is for tests only. Put Transport under an http.Client, or Middleware
// around a handler. It uses kin-openapi, so that the document is read by other
// code than the server's.
package apitest
