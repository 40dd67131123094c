package terminals

import "time"

// Settings bound terminals. Zero fields take their defaults.
type Settings struct {
	// PerRunspace is how many may run in a runspace at a time; default 4.
	PerRunspace int
	// TicketLife is how long a ticket can be used; default 30 s.
	TicketLife time.Duration
	// Scrollback is how many bytes of what a terminal has shown are kept; default
	// 256 KiB.
	Scrollback int
	// KeepEnded is how long one that has ended can still be looked at; default 5
	// min.
	KeepEnded time.Duration
	// CloseWithin is how long whoever closes a terminal waits for its program to end;
	// default 6 s, a little more than engines wait for one that they have killed.
	CloseWithin time.Duration
	// Sweep is how often connections of people who have lost their rights are
	// looked for, and what is over is forgotten; default 5 s.
	Sweep time.Duration
}

func (s Settings) withDefaults() Settings {
	put(&s.PerRunspace, 4)
	put(&s.TicketLife, 30*time.Second)
	put(&s.Scrollback, 256<<10)
	put(&s.KeepEnded, 5*time.Minute)
	put(&s.CloseWithin, 6*time.Second)
	put(&s.Sweep, 5*time.Second)
	return s
}

func put[T int | time.Duration](field *T, v T) {
	if *field == 0 {
		*field = v
	}
}
