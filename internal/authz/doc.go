// Package authz answers one question: may this principal do this action to an
// object of that organization?
//
// Check is a pure function over the table in actions.go: no store, no clock, no
// configuration. Services call it before they do anything; it knows nothing of
// how a principal was authenticated or whether an object exists. Another
// organization's object is always not_found, never forbidden, so that an answer
// never confirms that it exists.
//
// Start with the table in actions.go, then Check.
package authz
