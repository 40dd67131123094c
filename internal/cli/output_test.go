package cli

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"
)

func TestPlainWriter(t *testing.T) {
	t.Parallel()
	in := "a\tb\r\n\x1b]0;title\x07\x1b[2J é € \u009b31m \x9b \u202e\xff\x7f\n"
	const want = "a\tb?\n?]0;title??[2J é € ?31m ? \u202e??\n"
	for size := 1; size <= len(in); size++ { // characters are cut wherever a record ends
		var out bytes.Buffer
		w := &plainWriter{w: &out}
		for rest := in; rest != ""; rest = rest[min(size, len(rest)):] {
			part := rest[:min(size, len(rest))]
			if n, err := w.Write([]byte(part)); err != nil || n != len(part) {
				t.Fatalf("took %d of %d bytes, %v", n, len(part), err)
			}
		}
		if out.String() != want {
			t.Errorf("in parts of %d bytes it became %q, want %q", size, out.String(), want)
		}
	}
}

// FuzzPlainWriter wants nothing to come out that controls a terminal.
func FuzzPlainWriter(f *testing.F) {
	f.Add([]byte("a\x1b[2J\xc2"), []byte("\x9b31m"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var out bytes.Buffer
		w := &plainWriter{w: &out}
		for _, part := range [][]byte{a, b} {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || r == unicode.ReplacementChar
		}); i >= 0 {
			t.Fatalf("%q, %q became %q", a, b, out.String())
		}
	})
}

// What an installer says reaches a terminal without escapes, and a pipe as it is.
func TestForeignTextKnowsTerminals(t *testing.T) {
	t.Parallel()
	var pipe bytes.Buffer
	c := &command{Env: &Env{Stdout: &pipe}}
	if _, err := io.WriteString(c.foreignText(), "\x1b[2J"); err != nil || pipe.String() != "\x1b[2J" {
		t.Errorf("a pipe got %q, %v", pipe.String(), err)
	}
	screen, terminal := openTerminal(t)
	c = &command{Env: &Env{Stdout: terminal}}
	if _, err := io.WriteString(c.foreignText(), "\x1b[2J|"); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for one := make([]byte, 1); !bytes.HasSuffix(got, []byte("|")); got = append(got, one...) {
		if _, err := screen.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != "?[2J|" {
		t.Errorf("a terminal got %q", got)
	}
}

// openTerminal returns the two ends of a new terminal.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return screen, terminal
}

// A name that the server refuses is refused before anything is said of it.
func TestDeclaredNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{`"a (1) é"`: true, `"a\u001b[2J"`: false, `"a\nb"`: false, `" a"`: false, `".."`: false, `"` + strings.Repeat("a", 251) + `"`: false} {
		c := &command{Env: &Env{Stdin: strings.NewReader("name: " + name + "\nlanguage: python\n")}}
		_, err := c.readDeclared(fileFlags{files: []string{"-"}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
