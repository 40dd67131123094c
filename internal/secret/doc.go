// Package secret holds text that must not be shown: passwords, token secrets.
// A String prints, logs and encodes as a placeholder; only Reveal gives the text.
//
// It keeps secrets out of logs, errors and the audit log by type. It does not
// encrypt anything.
package secret
