package native

import (
	"math"
	"net/http"
	"reflect"
	"strconv"

	"github.com/remuda-run/remuda/api"
	"github.com/remuda-run/remuda/internal/httpapi"
	"github.com/remuda-run/remuda/internal/remuda"
)

func (e *edge) rebuildRuntime(c *call) error {
	var body api.RuntimeRebuild
	if err := c.read(bodyLimit, &body); err != nil {
		return err
	}
	rt, err := e.Runtimes.RebuildRuntime(c.ctx(), c.p, c.r.PathValue("runtime"), value(body.Refresh))
	if err != nil {
		return err
	}
	return c.reply(http.StatusAccepted, runtimeWire(rt))
}

func (e *edge) listBuilds(c *call) error {
	items, next, err := e.Runtimes.ListBuilds(c.ctx(), c.p, c.r.PathValue("runtime"), httpapi.Page(c.query))
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, api.BuildList{Items: each(items, buildWire), Next: optional(next)})
}

// generation is the number in the path. What is none names nothing.
func (c *call) generation() (int, error) {
	text := c.r.PathValue("generation")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt32 || strconv.Itoa(n) != text {
		return 0, remuda.NotFound("build", text)
	}
	return n, nil
}

func (e *edge) getBuild(c *call) error {
	n, err := c.generation()
	if err != nil {
		return err
	}
	build, err := e.Runtimes.GetBuild(c.ctx(), c.p, c.r.PathValue("runtime"), n)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, buildWire(build))
}

func (e *edge) getBuildLog(c *call) error {
	n, err := c.generation()
	if err != nil {
		return err
	}
	wait, err := httpapi.ParseWait(c.query.Get("wait"))
	if err != nil {
		return err
	}
	after := integer(c.query.Get("after"), 0)
	if httpapi.AcceptsEvents(c.r.Header) {
		return e.streamBuildLog(c, n, integer(c.r.Header.Get("Last-Event-ID"), after))
	}
	limit := int(integer(c.query.Get("limit"), defaultOutputBytes))
	page, _, err := e.Runtimes.BuildLog(c.ctx(), c.p, c.r.PathValue("runtime"), n, after, limit, wait)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, outputWire(page))
}

// streamBuildLog sends records and changes of the build as they come, and at last
// its end. The first page is asked for before the header is sent, so that a refusal
// is still an answer with a status.
func (e *edge) streamBuildLog(c *call, n int, after int64) error {
	ref := c.r.PathValue("runtime")
	page, build, err := e.Runtimes.BuildLog(c.ctx(), c.p, ref, n, after, streamBytes, 0)
	if err != nil {
		return err
	}
	stream, err := httpapi.NewEventStream(c.w)
	if err != nil {
		return err
	}
	add := func(event, id string, v any) error {
		data, err := oneLine(v)
		if err == nil {
			stream.Add(event, id, data)
		}
		return err
	}
	var told []remuda.PackageStatus
	for first := true; ; first = false {
		if first || !reflect.DeepEqual(told, build.Packages) {
			if err := add("build", "", buildWire(build)); err != nil {
				return err
			}
			told = build.Packages
		}
		for _, rec := range page.Records {
			if err := add("output", strconv.FormatInt(rec.Seq, 10), recordWire(rec)); err != nil {
				return err
			}
			after = rec.Seq
		}
		if page.Ended {
			if err := add("end", "", buildWire(build)); err != nil {
				return err
			}
			return stream.Flush()
		}
		if len(page.Records) == 0 {
			stream.Heartbeat()
		}
		if err := stream.Flush(); err != nil {
			return err // the reader has gone, or stands still
		}
		if page, build, err = e.Runtimes.BuildLog(c.ctx(), c.p, ref, n, after, streamBytes, heartbeat); err != nil {
			return err
		}
	}
}
