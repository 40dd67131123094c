package executions

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/remuda-run/remuda/internal/authz"
	"github.com/remuda-run/remuda/internal/remuda"
	"github.com/remuda-run/remuda/internal/store"
)

// lineType is what a line of standard output is called among objects.
const lineType = "builtins.str"

// maxLines bounds how many lines of standard output become objects of their own; the
// last one has all the rest.
const maxLines = 10_000

// OutputText returns what a script has put out as one text: its standard output
// and, on a line of its own, what it evaluated to, without space around it. Of one
// that runs it is what is durable so far.
func (s *Service) OutputText(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (text string, ended bool, err error) {
	out, err := s.gather(ctx, p, id)
	if err != nil {
		return "", false, err
	}
	b := out.stdout
	if v := out.row.Value; v != nil {
		if n := len(b); n > 0 && b[n-1] != '\n' {
			b = append(b, '\n')
		}
		b = append(b, v.Text...)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "\uFFFD")), out.row.State.Final(), nil
}

// OutputObjects returns what a script has put out as objects, each a JSON text with
// TypeName, Interfaces and Value: the lines of its standard output and then, if it
// was run with Objects, what it evaluated to. Of one that runs it is what is durable
// so far.
func (s *Service) OutputObjects(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (objects []string, ended bool, err error) {
	out, err := s.gather(ctx, p, id)
	if err != nil {
		return nil, false, err
	}
	for rest := out.stdout; len(rest) > 0; {
		piece := rest
		if len(objects) < maxLines-1 {
			piece, rest, _ = bytes.Cut(rest, []byte{'\n'})
		} else {
			piece, rest = bytes.TrimSuffix(piece, []byte{'\n'}), nil
		}
		object, err := lineObject(bytes.TrimSuffix(piece, []byte{'\r'}))
		if err != nil {
			return nil, false, err
		}
		objects = append(objects, object)
	}
	return append(objects, out.objects...), out.row.State.Final(), nil
}

func lineObject(text []byte) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		TypeName   string
		Interfaces []string
		Value      string
	}{lineType, []string{}, string(text)}) // what is no UTF-8 is replaced
	if err != nil {
		return "", remuda.Internal("writing an object", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// gathered is what one execution has put out. The output limit bounds it.
type gathered struct {
	row     remuda.Execution
	stdout  []byte
	objects []string
}

// gather reads it in one snapshot.
func (s *Service) gather(ctx context.Context, p remuda.Principal, id remuda.ExecutionID) (out gathered, err error) {
	if err := authz.Check(p, authz.ExecutionRead, p.Organization); err != nil {
		return gathered{}, err
	}
	err = s.store.ReadOf(ctx, store.Ended{Organization: p.Organization, Execution: id}, func(tx *store.Tx) error {
		if out.row, err = visible(ctx, tx, p, id); err != nil {
			return err
		}
		for after := int64(0); ; {
			records, err := tx.StreamOutput(ctx, p.Organization, id, [2]remuda.Stream{remuda.StreamStdout, remuda.StreamObject}, after, maxPage)
			if err != nil || len(records) == 0 {
				return err
			}
			for i := range records {
				if records[i].Stream == remuda.StreamObject {
					out.objects = append(out.objects, string(records[i].Data))
				} else {
					out.stdout = append(out.stdout, records[i].Data...)
				}
			}
			after = records[len(records)-1].Seq
		}
	})
	return out, err
}
