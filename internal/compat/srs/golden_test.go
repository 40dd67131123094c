package srs_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/compat/compattest"
)

func TestExchanges(t *testing.T) {
	t.Parallel()
	until := func(words ...string) func(compattest.Reply) bool {
		return func(r compattest.Reply) bool {
			for _, w := range words {
				if strings.Contains(string(r.Body), w) {
					return true
				}
			}
			return r.Status != http.StatusOK
		}
	}
	ended := until(`"state":"success"`, `"state":"error"`, `"state":"canceled"`)
	compattest.Golden{
		Start: start, Client: mustSpec(t).Client(t), Update: *update, Headers: []string{headerKey, "WWW-Authenticate", "Location", "Allow", "Retry-After"},
		Volatile: map[string]*regexp.Regexp{
			"id": regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`),
			"wc": regexp.MustCompile(`\bwc[0-9a-f]{12}\b`),
		},
		Blurred: map[string]*regexp.Regexp{
			"time":  regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+\+00:00`),
			"trace": regexp.MustCompile(`\b[0-9a-f]{16}\b`),
		},
		Known: []string{absent},
		Until: map[string]func(compattest.Reply) bool{
			"it becomes ready": until(`"state":"ready"`, `"state":"error"`), "the script ends": ended, "the failure": ended, "it is canceled": ended,
		},
	}.Run(t)
}
