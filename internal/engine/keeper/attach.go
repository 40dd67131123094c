package keeper

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// Attach takes a connection whose other end is the keeper of a template, and makes
// it that of an instance which was forked there: the one whose user 0 has this
// number in the template's range. On error the connection is closed.
func Attach(ctx context.Context, c *net.UnixConn, user int) (*Conn, error) {
	k, err := NewConn(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := k.attach(ctx, user); err != nil {
		k.Close()
		return nil, fmt.Errorf("attach to an instance: %w", err)
	}
	return k, nil
}

// Dismiss has a template's keeper hold nothing of an instance that has ended, or
// ends now, once the connection is closed.
func (k *Conn) Dismiss() {
	_ = k.send(protocol.TypeLinger, &protocol.Linger{}) // a keeper that has ended holds nothing
}

func (k *Conn) attach(ctx context.Context, user int) error {
	ctx, cancel := context.WithTimeout(ctx, HelloTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := k.send(protocol.TypeAttach, &protocol.Attach{User: user}); err != nil {
		return err
	}
	if err := k.waitState(); err != nil {
		return err
	}
	if !stop() {
		return context.Cause(ctx) // the deadline is set by now
	}
	return nil
}
