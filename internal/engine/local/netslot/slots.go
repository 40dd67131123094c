package netslot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remuda-run/remuda/internal/egress"
	"github.com/remuda-run/remuda/internal/remuda"
)

// Options say how slots are to be made.
type Options struct {
	// Herd names what is made on the machine: 12 characters at most.
	Herd string
	// Settings of the site; the zero value is egress.DefaultSettings.
	Settings egress.Settings
	// Logger gets what nobody is waiting for. Nil discards it.
	Logger *slog.Logger
	// Ahead is how many slots are kept ready; 0 is DefaultAhead.
	Ahead int
	// Outlive has connections outlive the process: Recover of the next one takes
	// over those that it wants.
	Outlive bool
}

// DefaultAhead is how many slots are made ahead once the first is asked for.
const DefaultAhead = 8

// maxHerd is the length of a herd's name that fits an interface's.
const maxHerd = unix.IFNAMSIZ - 1 - len(linkPrefix)

// Slots are the connections of one herd's sandboxes. Nothing is made on the
// machine before the first Attach.
type Slots struct {
	opts   Options
	log    *slog.Logger
	plan   plan
	record forwarding
	left   remains // of the router, for the next process

	// filling makes slots ahead, tending follows the machine.
	tasks   sync.WaitGroup
	stop    context.CancelFunc
	filling chan struct{}

	opening sync.Mutex // one router at a time; held while it is made or removed

	mu       sync.Mutex
	closed   bool
	router   *router
	resolver *resolver
	free     []*slot
	made     int
	inUse    map[*Attached]bool
	claims   int                             // attachments begun or living: the router stays
	kept     map[remuda.InstanceID]*Attached // of an earlier process, and not adopted yet
	detached bool                            // there are connections for the next process
}

// slot is a place on the router.
type slot struct {
	number int
	v4, v6 netip.Addr
	rules  *slotRules
}

// New returns slots of which none is made.
func New(opts Options) (*Slots, error) {
	if opts.Settings.Range == (netip.Prefix{}) {
		rules := opts.Settings.Rules
		opts.Settings = egress.DefaultSettings()
		opts.Settings.Rules = rules
	}
	if opts.Herd == "" || len(opts.Herd) > maxHerd {
		return nil, fmt.Errorf("the name %q of a herd has not 1 to %d characters", opts.Herd, maxHerd)
	}
	if wrong := opts.Settings.Check(); len(wrong) > 0 {
		return nil, remuda.Invalid(wrong...)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Ahead == 0 {
		opts.Ahead = DefaultAhead
	}
	return &Slots{
		opts: opts, log: opts.Logger, plan: newPlan(opts.Settings), record: forwarding{recordDir},
		left: remains{filepath.Join(recordDir, "net-"+opts.Herd)}, kept: map[remuda.InstanceID]*Attached{},
		filling: make(chan struct{}, 1), inUse: map[*Attached]bool{},
	}, nil
}

// Compile returns what a list comes to here. The machine's own addresses are not
// looked at: its rules and the resolver refuse them, whatever they are by then.
func (s *Slots) Compile(e remuda.Egress, organization ...egress.Rules) egress.Compiled {
	return egress.Compile(e, s.opts.Settings.Site(), organization...)
}

// claim returns the router, made if it is not there, and keeps it until unclaim.
func (s *Slots) claim() (*router, *resolver, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	r, d, closed := s.router, s.resolver, s.closed
	if r != nil && !closed {
		s.claims++
	}
	s.mu.Unlock()
	switch {
	case closed:
		return nil, nil, remuda.Errorf(remuda.CodeUnavailable, "the network of sandboxes is closed")
	case r != nil:
		return r, d, nil
	}
	r, err := s.openRouter()
	if err != nil {
		if _, ok := errors.AsType[*remuda.Error](err); ok {
			return nil, nil, err
		}
		return nil, nil, unsupported("sandboxes cannot be connected on this machine", "the router could not be made",
			"run `remuda doctor`; it needs root with CAP_NET_ADMIN and a kernel with nf_tables, veth and network namespaces", err)
	}
	d, err = startResolver(r.space, s.plan, s.opts.Settings.UpstreamDNS, s.log)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start the resolver: %w", err), r.close(), s.left.remove())
	}
	s.mu.Lock()
	s.claims++
	s.mu.Unlock()
	s.begin(r, d, 0, nil)
	return r, d, nil
}

// openRouter makes it, and pins it if connections are to outlive the process.
func (s *Slots) openRouter() (*router, error) {
	if err := s.left.remove(); err != nil {
		return nil, err
	}
	r, err := openRouter(s.opts.Herd, s.plan, s.record)
	if err != nil || !s.opts.Outlive {
		return r, err
	}
	known, err := form(s.plan, s.bounds())
	if err == nil {
		err = s.left.leave(r.space, known)
	}
	if err != nil {
		return nil, errors.Join(err, r.close(), s.left.remove())
	}
	return r, nil
}

// begin uses a router that is ready, of which some slots are made and free.
func (s *Slots) begin(r *router, d *resolver, made int, free []*slot) {
	if !r.six {
		s.log.Info("sandboxes have no way out over IPv6: this kernel forwards it for all interfaces or for none, and it is off (sysctl net.ipv6.conf.all.forwarding)")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.router, s.resolver, s.stop, s.made, s.free = r, d, cancel, made, free
	s.mu.Unlock()
	s.tasks.Go(func() { s.fill(ctx, r) })
	s.tasks.Go(func() { s.tend(ctx, r) })
}

func (s *Slots) unclaim() {
	s.mu.Lock()
	s.claims--
	s.mu.Unlock()
}

// take returns a slot that nobody uses, made if there is none.
func (s *Slots) take(r *router) (*slot, error) {
	defer s.want()
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		// The one that has been free longest.
		sl := s.free[0]
		s.free = s.free[1:]
		s.mu.Unlock()
		return sl, nil
	}
	s.mu.Unlock()
	return s.make(r)
}

// want asks for slots to be made ahead.
func (s *Slots) want() {
	select {
	case s.filling <- struct{}{}:
	default: // asked for already
	}
}

// make makes a slot: its rules, with nothing in them.
func (s *Slots) make(r *router) (*slot, error) {
	s.mu.Lock()
	number := s.made
	if number >= s.plan.capacity() {
		s.mu.Unlock()
		return nil, &remuda.Error{Code: remuda.CodeExhausted, Message: "no more sandboxes can be connected", Cause: fmt.Sprintf("all %d network slots are in use", number), Remedy: "wait, or choose a larger network_range"}
	}
	s.made++
	s.mu.Unlock()
	sl := s.slotAt(r, number)
	if err := sl.rules.install(s.bounds()); err != nil {
		return nil, fmt.Errorf("make a network slot: %w", err) // its number is not used again
	}
	return sl, nil
}

// slotAt is the slot of a number.
func (s *Slots) slotAt(r *router, number int) *slot {
	sl := &slot{number: number, rules: newSlotRules(r.rules, number)}
	sl.v4, sl.v6 = s.plan.slot(number)
	return sl
}

func (s *Slots) bounds() bounds {
	return bounds{connections: s.opts.Settings.Connections, bytes: uint64(s.opts.Settings.MegabitsPerSecond) * 1e6 / 8}
}

// fill keeps slots ready.
func (s *Slots) fill(ctx context.Context, r *router) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.filling:
		}
		for ctx.Err() == nil {
			s.mu.Lock()
			enough := len(s.free) >= s.opts.Ahead
			s.mu.Unlock()
			if enough {
				break
			}
			sl, err := s.make(r)
			if err != nil {
				if remuda.CodeOf(err) != remuda.CodeExhausted {
					s.log.Error("a network slot could not be made ahead", "error", err)
				}
				break
			}
			s.give(sl)
		}
	}
}

func (s *Slots) give(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, sl)
}

// tendEvery is how soon a change of the machine's interfaces is followed.
const tendEvery = 10 * time.Second

func (s *Slots) tend(ctx context.Context, r *router) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.refresh(); err != nil {
			s.log.Error("changes of the machine's network could not be followed", "error", err)
		}
	}
}

// Close releases every slot that is not detached. If none is, it removes the
// router and what was changed of the machine. No Attach may run.
func (s *Slots) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	living := make([]*Attached, 0, len(s.inUse))
	for a := range s.inUse {
		living = append(living, a)
	}
	s.mu.Unlock()
	var errs []error
	for _, a := range living {
		errs = append(errs, a.Release(ctx))
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	return errors.Join(append(errs, s.shut())...)
}

// shut removes the router. Called with opening.
func (s *Slots) shut() error {
	s.mu.Lock()
	r, d, stop, detached := s.router, s.resolver, s.stop, s.detached
	s.router, s.resolver, s.free = nil, nil, nil
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	stop()
	d.close()
	s.tasks.Wait()
	if detached && s.opts.Outlive {
		r.letGo()
		return nil
	}
	return errors.Join(r.close(), s.left.remove())
}
