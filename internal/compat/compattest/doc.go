// Package compattest is the suite that every vendor door passes: that it refuses in
// its vendor's form, that bad input changes nothing, that no call shows another
// organization's objects, and that every exchange is as its document says. It also
// holds what doors' own tests need: a whole server over a scripted engine (site.go), a
// client that checks exchanges against an OpenAPI document (spec.go), golden exchanges
// in files (golden.go), and what speaks to a real server over HTTP (client.go).
//
// A door's test describes the door as a Door and calls Run. Start with suite.go.
package compattest
