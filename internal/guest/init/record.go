package guestinit

import (
	"fmt"

	"github.com/remuda-run/remuda/internal/guest/channel"
	"github.com/remuda-run/remuda/internal/guest/protocol"
)

// recordCost is what a record counts against the output limit beside its bytes, so
// that a flood of empty messages is bounded as well.
const recordCost = 64

// The numbers of streams and of kinds of records are the same.
const (
	_ = uint(channel.KindInformation-protocol.StreamInformation) + uint(protocol.StreamInformation-channel.KindInformation)
	_ = uint(channel.KindObject-protocol.StreamObject) + uint(protocol.StreamObject-channel.KindObject)
)

// outputFirst takes what a script has written before the records that have come, so
// that both have about the order in which they were made.
func (k *keeper) outputFirst() {
	r := k.run
	if r == nil || r.phase != running || !r.streams {
		return
	}
	for i := range k.driver.pipes {
		if !r.full() {
			k.readPipe(&k.driver.pipes[i])
		}
	}
}

// recordHeard takes a record of the driver's and makes output of it.
func (k *keeper) recordHeard(p []byte) error {
	r := k.run
	if k.template != nil || r == nil || r.phase != running {
		return fmt.Errorf("%w: a record while nothing runs", channel.ErrGarbage)
	}
	rec, err := channel.ParseRecord(p)
	if err != nil {
		return err
	}
	if asked := r.streams && rec.Kind != channel.KindObject || r.objects && rec.Kind == channel.KindObject; !asked {
		return fmt.Errorf("%w: a record of kind %d that nobody asked for", channel.ErrGarbage, rec.Kind)
	}
	if r.killed {
		return nil
	}
	if frame := r.addWhole(rec.Kind, rec.Data); frame != nil && k.conn != nil && k.conn.hello {
		k.conn.out = append(k.conn.out, frame...)
	}
	k.checkFlood()
	if r.full() {
		k.deafen()
	}
	return nil
}

// addWhole makes one record of data if all of it fits in the limit. Where one does
// not fit nothing follows it, as with output that is cut. But what is said for
// debugging has half the limit only: libraries say much, and the script's own output is
// to have a place.
func (o *output) addWhole(stream byte, data []byte) []byte {
	limit, cost := o.limit, int64(len(data))+recordCost
	chatter := stream == protocol.StreamDebug || stream == protocol.StreamVerbose
	if chatter {
		limit /= 2
	}
	if cost > limit-o.kept {
		if !chatter {
			o.kept = max(o.kept, o.limit)
		}
		o.cut += cost
		return nil
	}
	o.kept += recordCost
	return o.add(stream, data)
}

// deafen lets a driver wait that has more to say than the server has taken yet.
func (k *keeper) deafen() {
	if d := k.driver; !d.deaf && d.channel >= 0 {
		d.deaf = true
		k.rewatchDriver()
	}
}

// listenAgain ends that.
func (k *keeper) listenAgain() {
	if d := k.driver; d.deaf {
		d.deaf = false
		k.rewatchDriver()
	}
}
