package browser

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/remuda-run/remuda/test/harness"
)

var update = flag.Bool("update", false, "renew the pictures in docs/images")

const patience = 2 * time.Minute

// tab is a page in a browser of its own, and what it complains about.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the browser in it

	mu         sync.Mutex
	complaints []string
}

// browser is the first that there is of those that scripts/install.sh is content with.
func browser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	return ""
}

func openTab(t *testing.T) *tab {
	t.Helper()
	program := browser()
	if program == "" {
		t.Skip("this machine has no chromium: run scripts/install.sh test")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.WindowSize(1000, 640))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	t.Cleanup(func() { // a browser that is killed leaves a directory
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("close the browser: %v", err)
		}
	})
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // starts the browser, without a limit of time
		t.Fatal(err)
	}
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.complaints = append(b.complaints, string(m.Type)+": "+m.Text)
				b.mu.Unlock()
			}
		}
	}()
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// is evaluates an expression.
func is[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true.
func (b *tab) await(what, expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !is[bool](b, expression); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s does not come. The status is %q, the screen:\n%s\ncomplaints: %q", what, b.status(), b.screen(), b.complaints)
		}
	}
}

const rows = `Array.from(document.querySelectorAll(".xterm-rows > div"), (row) => row.textContent.replace(/\u00a0/g, " ").trimEnd()).join("\n")`

// screen is what the terminal shows.
func (b *tab) screen() string { return is[string](b, rows) }

func (b *tab) status() string {
	return is[string](b, `document.getElementById("status").textContent`)
}

// shows waits until the terminal shows a line.
func (b *tab) shows(line string) {
	b.t.Helper()
	b.await("the line "+line, `(`+rows+`).split("\n").includes(`+quote(line)+`)`)
}

func (b *tab) connected() {
	b.t.Helper()
	b.await("a connection", `document.getElementById("status").dataset.state === "open"`)
}

// types presses keys as a keyboard does: each is one event, whose default, that a
// character is entered, the page may prevent. chromedp.KeyEvent makes two, and a
// terminal takes both.
func (b *tab) types(text string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		for _, r := range text {
			keys := kb.Encode(r)
			if len(keys) == 3 { // down, the character, up
				keys[0].Text = keys[1].Text
				keys = []*input.DispatchKeyEventParams{keys[0], keys[2]}
			}
			for _, k := range keys {
				if _, err := cdp.Call(ctx, tab, input.DispatchKeyEvent, *k); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// opened is a terminal in a runspace that is ready.
type opened struct {
	Terminal struct {
		ID string `json:"id"`
	} `json:"terminal"`
	Ticket  string `json:"ticket"`
	Console string `json:"console"`
}

func openTerminal(s *harness.Server, in any) opened {
	var rs struct {
		ID string `json:"id"`
	}
	s.Call("POST", "/v1/runspaces?wait=1m", map[string]any{"runtime": "python"}, &rs)
	var o opened
	s.Call("POST", "/v1/runspaces/"+rs.ID+"/terminals", in, &o)
	return o
}

// TestTerminal is a person at a terminal.
func TestTerminal(t *testing.T) {
	b := openTab(t)
	s := harness.Start(t)
	o := openTerminal(s, nil)
	page := s.Base + o.Console
	b.do(chromedp.Navigate(page + "#" + o.Ticket))
	b.connected()
	if at := is[string](b, "location.href"); at != page {
		t.Errorf("the ticket stays in the address: %s", at)
	}
	b.shows(">>>")
	b.types("6*7\r")
	b.shows("42")

	// The program knows how large the window is, and is told when that changes.
	size := func(which string) string {
		t.Helper()
		b.types("import os; print('" + which + "', *os.get_terminal_size())\r")
		b.await("the size", `/^`+which+` \d+ \d+$/m.test(`+rows+`)`)
		return is[string](b, `/^`+which+` (\d+ \d+)$/m.exec(`+rows+`)[1]`)
	}
	before := size("wide")
	b.do(chromedp.EmulateViewport(700, 400))
	b.await("a smaller terminal", `document.querySelectorAll(".xterm-rows > div").length < 24`)
	b.types("print('smal' + 'ler')\r")
	b.shows("smaller")
	after := size("narrow")
	if before == after {
		t.Errorf("the size is %q, then %q", before, after)
	}
	b.do(chromedp.EmulateViewport(1000, 640))

	const words = "wörter, 日本語" //nolint:gosmopolitan // wide characters take two places
	b.types("print('\\x1b[1;32mgreen\\x1b[0m and \\x1b[38;2;255;128;0morange\\x1b[0m, " + words + "')\r")
	b.shows("green and orange, " + words)
	if got := is[string](b, `(Array.from(document.querySelectorAll(".xterm-rows span")).filter((s) => s.textContent === "orange").map((s) => getComputedStyle(s).color)).join()`); !strings.Contains(got, "rgb(255, 128, 0)") {
		t.Errorf("what should be orange is %q: styles do not work", got)
	}

	// A reload comes back to the same terminal, with what it has shown.
	is[bool](b, `window.old = true`)
	b.do(chromedp.Reload()) // waits: what is evaluated while the document goes fails, about once in a hundred times
	if is[bool](b, `!!window.old`) {
		t.Fatal("the page was not loaded again")
	}
	b.connected()
	b.shows("42")
	b.shows("green and orange, " + words)
	b.types("6*8\r")
	b.shows("48")
	picture(b)

	// A ticket that was used is refused, and so is what is no token.
	second := openTab(t)
	second.do(chromedp.Navigate(page + "#" + o.Ticket))
	second.await("the question who one is", `!document.getElementById("ask").hidden`)
	if why := is[string](second, `document.getElementById("why").textContent`); !strings.Contains(why, "ticket") {
		t.Errorf("it says %q", why)
	}
	second.do(chromedp.SendKeys("#token", "wrong\r"))
	second.await("a refusal", `document.getElementById("why").textContent.includes("not valid") || document.getElementById("why").textContent.includes("wrong")`)
	second.do(chromedp.SendKeys("#token", s.Token+"\r"))
	second.connected()
	second.shows("48")
	b.await("to be told that it was taken over", `document.getElementById("status").textContent.includes("taken")`)

	second.types("exit(3)\r")
	second.await("the end", `document.getElementById("status").textContent === "ended with 3"`)
	b.quiet()
	if log := s.Log(); strings.Contains(log, o.Ticket) || strings.Contains(log, "rmtk_") {
		t.Error("the server's log has a ticket")
	}
}

// quiet wants a page that complains about nothing: above all that its policy
// refused it nothing.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Errorf("the page complains: %s", c)
	}
}

// picture renews the picture of the page when asked to.
func picture(b *tab) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if len(png) < 5000 {
		b.t.Errorf("a picture of %d bytes", len(png))
	}
	if *update {
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "images", "terminal.png"), png, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
}
