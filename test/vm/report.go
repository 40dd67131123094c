package vm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Step is one command that the machine runs, as it stands in steps.json.
type Step struct {
	Name           string   `json:"name"`
	Argv           []string `json:"argv"`
	Dir            string   `json:"dir"`
	Env            []string `json:"env,omitempty"`
	TimeoutSeconds int      `json:"timeout_seconds"`
	SilenceSeconds int      `json:"silence_seconds"` // without a line of output it counts as hanging
}

// Mark starts every line of a report that is not output of a step.
const Mark = "@@remuda-vm "

// BeginLine is the line before a step's output.
func BeginLine(name string) string { return Mark + "begin " + name }

// EndLine is the line after a step's output. status is the exit status; 124
// means that the step ran out of time.
func EndLine(name string, status int, took time.Duration) string {
	return fmt.Sprintf("%send %s status=%d ms=%d", Mark, name, status, took.Milliseconds())
}

// DoneLine is the last line of a complete report of n steps.
func DoneLine(n int) string { return fmt.Sprintf("%sdone steps=%d", Mark, n) }

// Outcome is what a report says about one step.
type Outcome struct {
	Name   string
	Output []string
	Status int
	Took   time.Duration
}

// ParseReport reads a report and accepts only a complete one: steps that begin
// and end in turn, nothing between them, and the end marker with the right
// count as its last line.
func ParseReport(lines []string) ([]Outcome, error) {
	var (
		done    []Outcome
		current *Outcome
		ended   bool
	)
	for i, line := range lines {
		rest, marked := strings.CutPrefix(line, Mark)
		switch {
		case ended:
			return done, fmt.Errorf("line %d comes after the end marker: %q", i+1, line)
		case !marked && current == nil:
			return done, fmt.Errorf("line %d is outside of any step: %q", i+1, line)
		case !marked:
			current.Output = append(current.Output, line)
			continue
		}
		word, args, _ := strings.Cut(rest, " ")
		switch word {
		case "begin":
			if current != nil {
				return done, fmt.Errorf("line %d: step %q begins inside of %q", i+1, args, current.Name)
			}
			current = &Outcome{Name: args}
		case "end":
			if current == nil {
				return done, fmt.Errorf("line %d: a step ends that did not begin: %q", i+1, line)
			}
			if err := current.parseEnd(args); err != nil {
				return done, fmt.Errorf("line %d: %w", i+1, err)
			}
			done, current = append(done, *current), nil
		case "done":
			if want := fmt.Sprintf("steps=%d", len(done)); current != nil || args != want {
				return done, fmt.Errorf("line %d: end marker %q does not fit what came before (%s)", i+1, line, want)
			}
			ended = true
		default:
			return done, fmt.Errorf("line %d: unknown mark %q", i+1, line)
		}
	}
	if !ended {
		if current != nil {
			return append(done, *current), fmt.Errorf("the report breaks off in step %q", current.Name)
		}
		return done, fmt.Errorf("the report breaks off after %d steps, without its end marker", len(done))
	}
	return done, nil
}

func (o *Outcome) parseEnd(args string) error {
	fields := strings.Fields(args)
	if len(fields) != 3 || fields[0] != o.Name {
		return fmt.Errorf("end of %q where %q runs", args, o.Name)
	}
	status, ok := strings.CutPrefix(fields[1], "status=")
	ms, okMS := strings.CutPrefix(fields[2], "ms=")
	if !ok || !okMS {
		return fmt.Errorf("malformed end of step %q: %q", o.Name, args)
	}
	var err error
	if o.Status, err = strconv.Atoi(status); err != nil {
		return fmt.Errorf("malformed status of step %q: %w", o.Name, err)
	}
	took, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return fmt.Errorf("malformed time of step %q: %w", o.Name, err)
	}
	o.Took = time.Duration(took) * time.Millisecond
	return nil
}

// TestCounts counts the results of top-level tests in verbose go test output.
func TestCounts(output []string) (passed, failed, skipped int) {
	for _, line := range output {
		switch {
		case strings.HasPrefix(line, "--- PASS: "):
			passed++
		case strings.HasPrefix(line, "--- FAIL: "):
			failed++
		case strings.HasPrefix(line, "--- SKIP: "):
			skipped++
		}
	}
	return passed, failed, skipped
}
