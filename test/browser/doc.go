// Package browser drives the web pages of the product in a real browser
// (Debian's chromium, without a window): what a person sees and types. A machine
// without chromium skips it. With -update the picture in docs/images is renewed:
// look at it before it is committed.
package browser
