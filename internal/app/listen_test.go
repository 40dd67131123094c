package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remuda-run/remuda/internal/config"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestWhereListeningIsAllowed(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	for _, c := range []struct {
		name, listen string
		tls, open    bool
		refused      string // part of the error; "" is allowed
	}{
		{name: "IPv4 loopback", listen: "127.0.0.1:0"},
		{name: "other IPv4 loopback", listen: "127.8.9.1:0"},
		{name: "IPv6 loopback", listen: "[::1]:0"},
		{name: "IPv4 loopback in IPv6", listen: "[::ffff:127.0.0.1]:0"},
		{name: "name of loopback", listen: "localhost:0"},
		{name: "full name of loopback", listen: "LocalHost.:0"},
		{name: "name that no resolver may be asked for", listen: "remuda.localhost:0"},
		{name: "name that only looks like it", listen: "notlocalhost.invalid:0", refused: "cannot listen"},
		{name: "loopback without a port", listen: "localhost", refused: "missing port"},
		{name: "loopback with open metrics", listen: "127.0.0.1:0", open: true},
		{name: "every interface", listen: ":8080", refused: "every interface"},
		{name: "every IPv4 interface", listen: "0.0.0.0:8080", refused: "every interface"},
		{name: "every IPv6 interface", listen: "[::]:8080", refused: "every interface"},
		{name: "private address", listen: "10.1.2.3:8080", refused: "10.1.2.3 is not a loopback address"},
		{name: "nearly loopback", listen: "128.0.0.1:8080", refused: "not a loopback address"},
		{name: "every interface with TLS", listen: ":8080", tls: true},
		{name: "open metrics elsewhere", listen: ":8080", tls: true, open: true, refused: "/metrics"},
		{name: "no such port", listen: "127.0.0.1:http-nonsense", refused: "cannot listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conf := config.Default()
			conf.Listen, conf.MetricsOpen = c.listen, c.open
			if c.tls {
				conf.TLSCert, conf.TLSKey = cert, key
			}
			e, err := resolveEndpoint(conf)
			if c.refused == "" {
				if err != nil || (e.tls != nil) != c.tls {
					t.Fatalf("got %+v, %v; want it allowed", e, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("got error %v, want one with %q", err, c.refused)
			}
			if e, ok := errors.AsType[*remuda.Error](err); !ok || e.Remedy == "" {
				t.Error("no remedy")
			}
		})
	}
}

func TestTLSFilesThatDoNotWork(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	conf := config.Default()
	conf.TLSCert, conf.TLSKey = cert, "/nonexistent.key"
	if _, err := resolveEndpoint(conf); remuda.CodeOf(err) != remuda.CodeInvalid {
		t.Errorf("got %v, want invalid", err)
	}
}

func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", raw)
}

func TestOneServerForADirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockData(dir)
	if remuda.CodeOf(err) != remuda.CodeConflict || !strings.Contains(err.Error(), "process id") {
		t.Errorf("a second lock gave %v, want a conflict that names the process", err)
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	second, err := lockData(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := second.release(); err != nil {
		t.Error(err)
	}
}
