// Package storetest is the suite that every database behind internal/store must
// pass: what is stored comes back, groups of writes fail and succeed
// independently, nothing acknowledged is lost by kill -9, organizations never
// see each other, lists stay whole while others insert, and alterations of the
// audit log are noticed.
//
// A backend's test calls Main from its TestMain and Run from a test. Start with
// suite.go.
package storetest
