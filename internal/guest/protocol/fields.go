package protocol

import (
	"maps"
	"slices"
)

// The binary form of each message: its fields in this order.

func (m *Hello) fields(c *coder) { c.int(&m.Version) }

func (m *State) fields(c *coder) {
	c.int(&m.Version)
	c.bool(&m.Ready)
	c.int64(&m.LingerMS)
	c.string(&m.Execution)
	c.int64(&m.NextSeq)
	c.int64(&m.ElapsedUS)
	m.Mark.fields(c)
}

func (m *Mark) fields(c *coder) {
	c.int64(&m.CPUNS)
	c.uint(&m.OOMKills)
	c.uint(&m.PidsMax)
}

func (m *Attach) fields(c *coder) { c.int(&m.User) }

func (m *Setup) fields(c *coder) {
	c.string(&m.Hostname)
	c.bool(&m.Prepared)
	m.Root.fields(c)
	list(c, &m.Mask, stringField)
	list(c, &m.ReadOnly, stringField)
	c.int64(&m.DiskBytes)
	c.int64(&m.DiskInodes)
	c.bool(&m.DiskFD)
	list(c, &m.Mounts, stringField)
	c.int(&m.UID)
	c.int(&m.GID)
	list(c, &m.Argv, stringField)
	c.bytes(&m.Driver)
	c.string(&m.DriverPath)
	c.string(&m.Language)
	dict(c, &m.Env, stringField)
	c.string(&m.Cwd)
	list(c, &m.Limits, limitField)
	c.bytes(&m.Seccomp)
	c.int64(&m.LingerMS)
	template := m.Template != nil
	if c.bool(&template); template && !c.bad {
		if !c.writing {
			m.Template = &Template{}
		}
		list(c, &m.Template.Preload, stringField)
		list(c, &m.Template.Exec, stringField)
		c.string(&m.Template.Language)
		c.bytes(&m.Template.Seccomp)
		list(c, &m.Template.Limits, limitField)
	}
}

func limitField(c *coder, l *Rlimit) {
	c.int(&l.Resource)
	c.uint(&l.Value)
}

func (*Fork) fields(*coder) {}

func (*Prepare) fields(*coder) {}

func (m *Forked) fields(c *coder) { c.int(&m.User) }

func (m *Ready) fields(c *coder) {
	dict(c, &m.TimingsUS, (*coder).int64)
	c.string(&m.Version)
}

func (m *Failed) fields(c *coder) {
	c.string(&m.Stage)
	c.string(&m.Error)
}

func (m *Execute) fields(c *coder) {
	c.string(&m.ID)
	c.string(&m.Script)
	c.string(&m.CodeFile)
	c.string(&m.Name)
	list(c, &m.Args, stringField)
	dict(c, &m.Parameters, rawField)
	c.bytes(&m.Stdin)
	dict(c, &m.Env, stringField)
	c.int64(&m.TimeoutMS)
	c.bool(&m.KillOnTimeout)
	c.int64(&m.OutputLimit)
	c.string(&m.Assign)
	list(c, &m.Scratch, stringField)
	c.bool(&m.Streams)
	c.bool(&m.Objects)
	m.Mark.fields(c)
}

func (m *Interrupt) fields(c *coder) {
	c.string(&m.ID)
	c.string(&m.By)
	c.int64(&m.GraceMS)
}

func (m *Ack) fields(c *coder) {
	c.string(&m.ID)
	c.int64(&m.Seq)
}

func (m *Linger) fields(c *coder) { c.int64(&m.LingerMS) }

func (m *End) fields(c *coder) {
	c.string(&m.ID)
	c.string(&m.State)
	exited := m.ExitCode != nil
	if c.bool(&exited); exited && !c.bad {
		if !c.writing {
			m.ExitCode = new(int)
		}
		c.int(m.ExitCode)
	}
	rawField(c, &m.ValueJSON)
	c.string(&m.ValueText)
	c.bool(&m.HasValue)
	dict(c, &m.Rich, stringField)
	c.string(&m.ErrType)
	c.string(&m.ErrText)
	c.string(&m.Traceback)
	c.string(&m.KilledBy)
	c.string(&m.Reason)
	c.int64(&m.LastSeq)
	c.int64(&m.OutputCut)
	c.int64(&m.WallUS)
	c.bool(&m.DiskFull)
	c.bool(&m.Dead)
}

func (m *FileRequest) fields(c *coder) {
	c.uint32(&m.Req)
	c.string(&m.Op)
	c.string(&m.Path)
	c.int64(&m.Limit)
}

func (m *FileReply) fields(c *coder) {
	c.uint32(&m.Req)
	c.string(&m.Code)
	c.string(&m.Error)
	list(c, &m.Entries, func(c *coder, e *FileEntry) {
		c.string(&e.Path)
		c.int64(&e.Size)
		c.uint32(&e.Mode)
		c.int64(&e.MtimeUS)
	})
}

// rawField is a byte slice of a type of its own.
func rawField[B ~[]byte](c *coder, v *B) {
	b := []byte(*v)
	if c.bytes(&b); !c.writing {
		*v = b
	}
}

// dict is a map. Its keys come in order, each once, so that it has one form.
func dict[V any](c *coder, v *map[string]V, each func(*coder, *V)) {
	n := c.count(len(*v))
	if c.writing {
		for _, key := range slices.Sorted(maps.Keys(*v)) {
			value := (*v)[key]
			c.string(&key)
			each(c, &value)
		}
		return
	}
	last := ""
	for i := range n {
		var key string
		var value V
		c.string(&key)
		each(c, &value)
		if c.bad || i > 0 && key <= last {
			c.fail()
			return
		}
		if *v == nil {
			*v = map[string]V{}
		}
		(*v)[key], last = value, key
	}
}
