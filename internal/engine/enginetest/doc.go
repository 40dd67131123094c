// Package enginetest is the suite that every engine passes. Contract is what the
// code above the seam relies on, in any script language, so that fakes run it
// too; Run adds the promises of a real fence: scripts that attempt to break it,
// each in a cold instance and in one that waited.
//
// A negative check first proves that the attempt ran: it looks at the error
// number that the attempt got, never at silence.
package enginetest
