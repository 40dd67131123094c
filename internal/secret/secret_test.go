package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/remuda-run/remuda/internal/secret"
)

func TestNeverShown(t *testing.T) {
	t.Parallel()
	const text = "hunter2-canary"
	s := secret.String(text)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "k", s, "group", struct{ P secret.String }{s})
	raw, err := json.Marshal(map[string]any{"k": s, "list": []secret.String{s}})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %X %d", s, s, s, s, s, s, s, s), fmt.Sprintf("%v", struct{ P secret.String }{s}),
		errors.Join(fmt.Errorf("with %v", s)).Error(), logged.String(), string(raw),
	}
	for _, got := range shown {
		if strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) || !strings.Contains(got, secret.Redacted) {
			t.Errorf("shown as %q", got)
		}
	}
	if s.Reveal() != text {
		t.Errorf("Reveal() = %q", s.Reveal())
	}
}
