package guestinit_test

import (
	"testing"

	"github.com/remuda-run/remuda/internal/guest/protocol"
	"github.com/remuda-run/remuda/internal/remuda"
)

func TestFirst(t *testing.T) {
	s := ready(t, remuda.LanguagePython)
	r := s.exec(protocol.Execute{Script: "print(1)\n1+1"})
	t.Logf("%+v", r)
	r = s.exec(protocol.Execute{Script: "1/0"})
	t.Logf("%+v", r)
	r = s.exec(protocol.Execute{Script: "import os,sys\nos.system('cat /proc/self/mountinfo /proc/self/status /proc/self/cgroup /proc/self/limits; id; ls -la / /proc/1 /proc/self/fd/ /dev /run/remuda; ps aux; cat /proc/1/environ')\n"})
	t.Logf("%s\n%s", r.stdout, r.stderr)
}
