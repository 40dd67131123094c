// Package console is the web page of a terminal, at /console/terminals/{id} and,
// for the SRS door's web consoles, at /{wc-id} (compat/srs.md A3). It is static:
// the page reads the terminal's id out of its own address, takes a ticket from
// behind the # (which browsers do not send) or asks for a token to get one with,
// and connects to /v1/terminals/{id}/connection. So there is nothing here to
// authenticate, and the page of a terminal that is not there looks like any other.
//
// The terminal is drawn by xterm.js, which is embedded (assets/VERSIONS.md). The
// page loads nothing from elsewhere and its policy allows no inline script and no
// inline style; assets/style.js is what makes xterm.js do without.
package console
